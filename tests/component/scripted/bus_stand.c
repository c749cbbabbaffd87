#include "tests/component/scripted/bus_stand.h"

#include <assert.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define FLUSH_MS 20000
#define IDS_MAX	 20000 /* of one stand */

struct told {
	char id[IDENT_ID_MAX + 1];
	size_t n;
	struct result last;
};

static rd_kafka_t *open_handle(rd_kafka_type_t type, const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];
	rd_kafka_t *kafka;

	if (brokers) {
		assert(!rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why)));
		assert(!rd_kafka_conf_set(conf, "group.id", "the-test", why, sizeof(why)));
		assert(!rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", why, sizeof(why)));
	}
	assert(!rd_kafka_conf_set(conf, "log_level", "2", why, sizeof(why)));
	kafka = rd_kafka_new(type, conf, why, sizeof(why));
	assert(kafka);
	return kafka;
}

static void make_topics(struct rd_kafka_mock_cluster_s *cluster)
{
	static const char *const suffixes[] = { "tasks", "results", "output", "dead", "control" };
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		(void)snprintf(name, sizeof(name), "%s.%s", BUS_STAND_PREFIX, suffixes[i]);
		assert(!rd_kafka_mock_topic_create(cluster, name, 1, 1));
	}
}

static void listen_to_results(rd_kafka_t *consumer)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	(void)rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_partition_list_add(list, BUS_STAND_PREFIX ".results", 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	assert(!rd_kafka_assign(consumer, list));
	rd_kafka_topic_partition_list_destroy(list);
}

/* The cluster lives in a handle of its own, whose bootstrap servers nobody reads: it is made before there are any. */
void bus_stand_open(struct bus_stand *stand)
{
	*stand = (struct bus_stand){ .told = calloc(IDS_MAX, sizeof(*stand->told)) };
	assert(stand->told);
	redis_server_start(&stand->redis);
	stand->producer = open_handle(RD_KAFKA_PRODUCER, NULL);
	stand->cluster = rd_kafka_mock_cluster_new(stand->producer, 1);
	assert(stand->cluster);
	make_topics(stand->cluster);
	assert(rd_kafka_brokers_add(stand->producer, bus_stand_brokers(stand)) > 0);
	stand->consumer = open_handle(RD_KAFKA_CONSUMER, bus_stand_brokers(stand));
	listen_to_results(stand->consumer);
}

void bus_stand_close(struct bus_stand *stand)
{
	rd_kafka_destroy(stand->consumer);
	rd_kafka_mock_cluster_destroy(stand->cluster);
	rd_kafka_destroy(stand->producer);
	redis_server_kill(&stand->redis);
	for (size_t i = 0; i < stand->n_told; i++)
		if (stand->told[i].n)
			result_clear(&stand->told[i].last);
	free(stand->told);
}

const char *bus_stand_brokers(const struct bus_stand *stand)
{
	return rd_kafka_mock_cluster_bootstraps(stand->cluster);
}

void bus_stand_send(struct bus_stand *stand, const struct task *task)
{
	cleanup_(buf_free) struct buf record = { 0 };

	assert(task_encode(task, &record) == 0);
	assert(!rd_kafka_producev(stand->producer, RD_KAFKA_V_TOPIC(BUS_STAND_PREFIX ".tasks"), RD_KAFKA_V_PARTITION(0),
				  RD_KAFKA_V_VALUE(record.data, record.len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				  RD_KAFKA_V_END));
	assert(!rd_kafka_flush(stand->producer, FLUSH_MS));
}

static struct told *find(const struct bus_stand *stand, const char *id)
{
	for (size_t i = stand->n_told; i-- > 0;) /* what was told last is asked for most */
		if (strcmp(stand->told[i].id, id) == 0)
			return &stand->told[i];
	return NULL;
}

static void take(struct bus_stand *stand, const rd_kafka_message_t *message)
{
	struct result result;
	struct told *told;
	char why[160];

	assert(result_decode(message->payload, message->len, &result, why) == 0);
	told = result.event == RESULT_EVENT_FINISHED ? find(stand, result.id) : NULL;
	if (result.event != RESULT_EVENT_FINISHED) {
		result_clear(&result);
		return;
	}
	if (!told) {
		assert(stand->n_told < IDS_MAX);
		told = &stand->told[stand->n_told++];
		memcpy(told->id, result.id, sizeof(told->id));
	} else {
		result_clear(&told->last);
	}
	told->n++;
	told->last = result;
}

void bus_stand_read(struct bus_stand *stand)
{
	rd_kafka_message_t *message;

	while ((message = rd_kafka_consumer_poll(stand->consumer, 0))) {
		if (!message->err)
			take(stand, message);
		rd_kafka_message_destroy(message);
	}
}

size_t bus_stand_count(const struct bus_stand *stand, const char *id)
{
	const struct told *told = find(stand, id);

	return told ? told->n : 0;
}

size_t bus_stand_most(const struct bus_stand *stand)
{
	size_t most = 0;

	for (size_t i = 0; i < stand->n_told; i++)
		most = stand->told[i].n > most ? stand->told[i].n : most;
	return most;
}

const struct result *bus_stand_result(const struct bus_stand *stand, const char *id)
{
	const struct told *told = find(stand, id);

	return told ? &told->last : NULL;
}
