/* The bare loop that `tools/bench queue` measures Mayfly's pipeline against: the best that somebody would write who just wants each
 * record answered exactly once. A member of a group gathers records, GATHER_MAX of them or what comes in GATHER_MS, produces one
 * message for each, and commits these and the group's offsets in one transaction. It looks into no record and decides nothing: every
 * message has the same value, the bytes of a file.
 *
 * librdkafka fetches ahead while a transaction is committed, and sends while the next message is produced.
 *
 * usage: bench-loop BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT VALUE_FILE */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

#define GATHER_MAX 5000
#define GATHER_MS 10
#define VALUE_MAX_BYTES 65536
#define CALL_MS 30000 /* of a call that waits for the brokers */

struct loop {
	rd_kafka_t *consumer, *producer;
	rd_kafka_queue_t *records;
	const char *target;
	char value[VALUE_MAX_BYTES];
	size_t value_len;
	rd_kafka_message_t *messages[GATHER_MAX];
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench-loop: %s: %s\n", what, why);
	exit(1);
}

static void check(const char *what, rd_kafka_error_t *error)
{
	if (error)
		die(what, rd_kafka_error_string(error));
}

static rd_kafka_t *make(rd_kafka_type_t type, const char *const (*pairs)[2], size_t n)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];
	rd_kafka_t *kafka;

	for (size_t i = 0; i < n; i++)
		if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], why, sizeof(why)) != RD_KAFKA_CONF_OK)
			die(pairs[i][0], why);
	kafka = rd_kafka_new(type, conf, why, sizeof(why));
	if (!kafka)
		die("make a client", why);
	return kafka;
}

static void read_value(struct loop *loop, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		die(path, strerror(errno));
	loop->value_len = fread(loop->value, 1, sizeof(loop->value), file);
	if (!loop->value_len || !feof(file))
		die(path, "is empty, or too large");
	(void)fclose(file);
}

/* Answers how many of `messages` are records: what else comes is told. */
static size_t gather(struct loop *loop)
{
	ssize_t n = rd_kafka_consume_batch_queue(loop->records, GATHER_MS, loop->messages, GATHER_MAX);
	size_t kept = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (!loop->messages[i]->err) {
			loop->messages[kept++] = loop->messages[i];
			continue;
		}
		(void)fprintf(stderr, "bench-loop: %s\n", rd_kafka_message_errstr(loop->messages[i]));
		rd_kafka_message_destroy(loop->messages[i]);
	}
	return kept;
}

/* The value outlives the transaction: it is not copied. */
static void answer(struct loop *loop, const rd_kafka_message_t *message)
{
	while (rd_kafka_producev(loop->producer, RD_KAFKA_V_TOPIC(loop->target), RD_KAFKA_V_KEY(message->key, message->key_len),
				 RD_KAFKA_V_VALUE(loop->value, loop->value_len), RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_END))
		(void)rd_kafka_poll(loop->producer, 1);
}

static void commit(struct loop *loop)
{
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(loop->consumer);
	rd_kafka_topic_partition_list_t *offsets;

	if (rd_kafka_assignment(loop->consumer, &offsets) || rd_kafka_position(loop->consumer, offsets))
		die("position", "is not known");
	check("send offsets", rd_kafka_send_offsets_to_transaction(loop->producer, offsets, group, CALL_MS));
	check("commit", rd_kafka_commit_transaction(loop->producer, CALL_MS));
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_consumer_group_metadata_destroy(group);
}

static size_t turn(struct loop *loop)
{
	size_t n = gather(loop);

	if (!n)
		return 0;
	check("begin", rd_kafka_begin_transaction(loop->producer));
	for (size_t i = 0; i < n; i++)
		answer(loop, loop->messages[i]);
	commit(loop);
	for (size_t i = 0; i < n; i++)
		rd_kafka_message_destroy(loop->messages[i]);
	return n;
}

static void open_clients(struct loop *loop, const char *brokers, const char *source, const char *group)
{
	const char *const consumer_pairs[][2] = { { "bootstrap.servers", brokers }, { "group.id", group },
						  { "enable.auto.commit", "false" }, { "auto.offset.reset", "earliest" },
						  { "isolation.level", "read_committed" } };
	const char *const producer_pairs[][2] = { { "bootstrap.servers", brokers }, { "transactional.id", group },
						  { "retry.backoff.ms", "5" } }; /* 100, the default, is the price of a commit */
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);

	loop->consumer = make(RD_KAFKA_CONSUMER, consumer_pairs, ARRAY_SIZE(consumer_pairs));
	loop->producer = make(RD_KAFKA_PRODUCER, producer_pairs, ARRAY_SIZE(producer_pairs));
	check("init", rd_kafka_init_transactions(loop->producer, CALL_MS));
	rd_kafka_poll_set_consumer(loop->consumer);
	rd_kafka_topic_partition_list_add(topics, source, RD_KAFKA_PARTITION_UA);
	if (rd_kafka_subscribe(loop->consumer, topics))
		die("subscribe", source);
	rd_kafka_topic_partition_list_destroy(topics);
	loop->records = rd_kafka_queue_get_consumer(loop->consumer);
}

int main(int argc, char **argv)
{
	static struct loop loop;
	size_t count, done = 0;

	if (argc != 7)
		die("usage", "bench-loop BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT VALUE_FILE");
	loop.target = argv[3];
	count = strtoul(argv[5], NULL, 10);
	read_value(&loop, argv[6]);
	open_clients(&loop, argv[1], argv[2], argv[4]);
	while (done < count)
		done += turn(&loop);
	rd_kafka_queue_destroy(loop.records);
	(void)rd_kafka_consumer_close(loop.consumer);
	rd_kafka_destroy(loop.consumer);
	rd_kafka_destroy(loop.producer);
	return 0;
}
