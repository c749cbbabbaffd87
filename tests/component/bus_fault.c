/* The points lie around librdkafka's own calls, so that the code under test is the code that ships. */
#include "tests/component/bus_fault.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/publisher.h"

#define PARTITIONS 16
#define MIDWAY_US  6000 /* a commit takes about as long */
#define GO_STEP_US 20000

rd_kafka_conf_res_t __real_rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *why,
					     size_t size);
rd_kafka_error_t *__real_rd_kafka_init_transactions(rd_kafka_t *kafka, int timeout_ms);
rd_kafka_error_t *__real_rd_kafka_begin_transaction(rd_kafka_t *kafka);
rd_kafka_error_t *__real_rd_kafka_send_offsets_to_transaction(rd_kafka_t *kafka,
							      const rd_kafka_topic_partition_list_t *offsets,
							      const rd_kafka_consumer_group_metadata_t *group,
							      int timeout_ms);
rd_kafka_error_t *__real_rd_kafka_commit_transaction(rd_kafka_t *kafka, int timeout_ms);

void __real_publisher_submit(struct publisher *publisher, const struct publish_batch *batch);

void __wrap_publisher_submit(struct publisher *publisher, const struct publish_batch *batch);
rd_kafka_conf_res_t __wrap_rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *why,
					     size_t size);
rd_kafka_error_t *__wrap_rd_kafka_init_transactions(rd_kafka_t *kafka, int timeout_ms);
rd_kafka_error_t *__wrap_rd_kafka_begin_transaction(rd_kafka_t *kafka);
rd_kafka_error_t *__wrap_rd_kafka_send_offsets_to_transaction(rd_kafka_t *kafka,
							      const rd_kafka_topic_partition_list_t *offsets,
							      const rd_kafka_consumer_group_metadata_t *group,
							      int timeout_ms);
rd_kafka_error_t *__wrap_rd_kafka_commit_transaction(rd_kafka_t *kafka, int timeout_ms);

static struct fault {
	char kind[8], point[16];
	int countdown;
} fault;
static bool is_plain, is_highest;
static long long seen[PARTITIONS];
static rd_kafka_topic_partition_list_t *plain_offsets;
static char group_id[128], brokers[128];

bool bus_fault_add(const char *text)
{
	struct fault read;

	if (strcmp(text, "plain") == 0)
		return is_plain = true;
	if (strcmp(text, "highest") == 0)
		return is_highest = true;
	if (sscanf(text, "%7[a-z]=%15[a-z]:%d", read.kind, read.point, &read.countdown) != 3)
		return false;
	fault = read;
	return true;
}

void bus_fault_seen(int partition, long long offset)
{
	seen[partition] = offset + 1;
}

static bool is_due(const char *kind, const char *point)
{
	return strcmp(kind, fault.kind) == 0 && strcmp(point, fault.point) == 0 && --fault.countdown == 0;
}

static void wait_for_go(void)
{
	while (access("go", F_OK) < 0)
		(void)usleep(GO_STEP_US);
}

static void pass(const char *point)
{
	if (is_due("die", point))
		(void)raise(SIGKILL);
	if (is_due("stop", point)) {
		(void)printf("stopping\n");
		(void)kill(getpid(), SIGSTOP);
	}
	if (is_due("late", point)) {
		(void)printf("late\n");
		wait_for_go();
	}
}

static rd_kafka_error_t *lost(const char *point)
{
	if (!is_due("lose", point))
		return NULL;
	(void)printf("lost\n");
	wait_for_go();
	return rd_kafka_error_new(RD_KAFKA_RESP_ERR__TIMED_OUT, "the test says so");
}

void __wrap_publisher_submit(struct publisher *publisher, const struct publish_batch *batch)
{
	(void)printf("submitted %zu\n", batch->n_messages);
	__real_publisher_submit(publisher, batch);
}

rd_kafka_conf_res_t __wrap_rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *why,
					     size_t size)
{
	if (strcmp(name, "group.id") == 0)
		(void)snprintf(group_id, sizeof(group_id), "%s", value);
	if (strcmp(name, "bootstrap.servers") == 0)
		(void)snprintf(brokers, sizeof(brokers), "%s", value);
	if (is_plain && strncmp(name, "transaction", 11) == 0)
		return RD_KAFKA_CONF_OK;
	return __real_rd_kafka_conf_set(conf, name, value, why, size);
}

rd_kafka_error_t *__wrap_rd_kafka_init_transactions(rd_kafka_t *kafka, int timeout_ms)
{
	pass("init");
	return is_plain ? NULL : __real_rd_kafka_init_transactions(kafka, timeout_ms);
}

rd_kafka_error_t *__wrap_rd_kafka_begin_transaction(rd_kafka_t *kafka)
{
	pass("begin");
	return is_plain ? NULL : __real_rd_kafka_begin_transaction(kafka);
}

static rd_kafka_topic_partition_list_t *bend(const rd_kafka_topic_partition_list_t *offsets)
{
	rd_kafka_topic_partition_list_t *bent = rd_kafka_topic_partition_list_copy(offsets);

	for (int i = 0; is_highest && i < bent->cnt; i++) {
		bent->elems[i].offset = seen[bent->elems[i].partition];
		bent->elems[i].metadata_size = 0;
	}
	return bent;
}

rd_kafka_error_t *__wrap_rd_kafka_send_offsets_to_transaction(rd_kafka_t *kafka,
							      const rd_kafka_topic_partition_list_t *offsets,
							      const rd_kafka_consumer_group_metadata_t *group,
							      int timeout_ms)
{
	rd_kafka_topic_partition_list_t *bent = bend(offsets);
	rd_kafka_error_t *error = NULL;

	pass("send");
	if (is_plain) {
		plain_offsets = bent;
		return NULL;
	}
	error = __real_rd_kafka_send_offsets_to_transaction(kafka, bent, group, timeout_ms);
	rd_kafka_topic_partition_list_destroy(bent);
	pass("sent");
	return error;
}

static void *die_soon(void *arg)
{
	(void)arg;
	(void)usleep((unsigned)random() % MIDWAY_US);
	(void)raise(SIGKILL);
	return NULL;
}

static rd_kafka_error_t *commit_plain(rd_kafka_t *kafka)
{
	static rd_kafka_t *committer;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];

	(void)rd_kafka_flush(kafka, 10000);
	pass("midway");
	(void)__real_rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why));
	(void)__real_rd_kafka_conf_set(conf, "group.id", group_id, why, sizeof(why));
	if (!committer)
		committer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	else
		rd_kafka_conf_destroy(conf);
	(void)rd_kafka_commit(committer, plain_offsets, 0);
	rd_kafka_topic_partition_list_destroy(plain_offsets);
	return NULL;
}

rd_kafka_error_t *__wrap_rd_kafka_commit_transaction(rd_kafka_t *kafka, int timeout_ms)
{
	rd_kafka_error_t *error = lost("commit"), *after;
	pthread_t thread;

	pass("commit");
	if (error)
		return error;
	if (is_plain)
		return commit_plain(kafka);
	if (is_due("die", "midway"))
		(void)pthread_create(&thread, NULL, die_soon, NULL);
	error = __real_rd_kafka_commit_transaction(kafka, timeout_ms);
	pass("committed");
	after = error ? NULL : lost("committed");
	return after ? after : error;
}
