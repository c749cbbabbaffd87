/* The bare loop that `tools/bench queue` measures Mayfly's pipeline against: consume, produce one message for each, commit both
 * in one transaction, as many as are ready (at most GROUP) to a transaction. Nothing else.
 *
 * usage: bench-loop BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 5000 /* as in worker/report.c */
#define RESULT_BYTES 700 /* what a no-op result takes */

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

static long gather(rd_kafka_queue_t *queue, rd_kafka_message_t **messages)
{
	ssize_t n = rd_kafka_consume_batch_queue(queue, 1000, messages, 1);

	if (n > 0) {
		ssize_t more = rd_kafka_consume_batch_queue(queue, 0, messages + 1, GROUP - 1);

		n += more > 0 ? more : 0;
	}
	return n;
}

static void answer(rd_kafka_t *producer, const char *target, rd_kafka_message_t **messages, long n)
{
	static char result[RESULT_BYTES];

	for (long i = 0; i < n; i++)
		while (rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(target),
					 RD_KAFKA_V_KEY(messages[i]->key, messages[i]->key_len),
					 RD_KAFKA_V_VALUE(result, sizeof(result)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					 RD_KAFKA_V_END))
			(void)rd_kafka_poll(producer, 1);
}

static void commit(rd_kafka_t *consumer, rd_kafka_t *producer, const char *source)
{
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(consumer);
	rd_kafka_topic_partition_list_t *offsets;

	if (rd_kafka_assignment(consumer, &offsets) || rd_kafka_position(consumer, offsets))
		die("position", source);
	check("send offsets", rd_kafka_send_offsets_to_transaction(producer, offsets, group, 10000));
	check("commit", rd_kafka_commit_transaction(producer, 10000));
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_consumer_group_metadata_destroy(group);
}

int main(int argc, char **argv)
{
	const char *const consumer_pairs[][2] = { { "bootstrap.servers", argv[1] }, { "group.id", argv[4] },
						  { "enable.auto.commit", "false" }, { "auto.offset.reset", "earliest" },
						  { "isolation.level", "read_committed" }, { "queued.min.messages", "5000" } };
	const char *const producer_pairs[][2] = { { "bootstrap.servers", argv[1] }, { "transactional.id", argv[4] },
						  { "retry.backoff.ms", "5" }, { "linger.ms", "5" } };
	static rd_kafka_message_t *messages[GROUP];
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_t *consumer, *producer;
	rd_kafka_queue_t *queue;
	long done = 0, count;

	if (argc != 6)
		die("usage", "bench-loop BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT");
	count = strtol(argv[5], NULL, 10);
	consumer = make(RD_KAFKA_CONSUMER, consumer_pairs, sizeof(consumer_pairs) / sizeof(consumer_pairs[0]));
	producer = make(RD_KAFKA_PRODUCER, producer_pairs, sizeof(producer_pairs) / sizeof(producer_pairs[0]));
	check("init", rd_kafka_init_transactions(producer, 30000));
	rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_partition_list_add(topics, argv[2], RD_KAFKA_PARTITION_UA);
	if (rd_kafka_subscribe(consumer, topics))
		die("subscribe", argv[2]);
	queue = rd_kafka_queue_get_consumer(consumer);
	while (done < count) {
		long n = gather(queue, messages);

		if (n <= 0)
			continue;
		check("begin", rd_kafka_begin_transaction(producer));
		answer(producer, argv[3], messages, n);
		commit(consumer, producer, argv[2]);
		for (long i = 0; i < n; i++)
			rd_kafka_message_destroy(messages[i]);
		done += n;
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_partition_list_destroy(topics);
	(void)rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	rd_kafka_destroy(producer);
	return 0;
}
