#include "bus/topics.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define TOPIC_COUNT 5
#define RETRY_MS 250          /* while no broker answers */
#define REQUEST_MS 5000       /* of one attempt */
#define CONTROL_KEEP_MS "604800000" /* a week, as Kafka keeps a task unless told otherwise: it may wait that long */
#define DEAD_MAX_BYTES "16777216" /* PUBLISH_MESSAGE_MAX_BYTES: whatever came in as a record goes in here */

void topics_name(const char *prefix, struct topics *ret)
{
	const struct {
		char *to;
		size_t size;
		const char *suffix;
	} names[TOPIC_COUNT] = { { ret->tasks, sizeof(ret->tasks), "tasks" },
				 { ret->results, sizeof(ret->results), "results" },
				 { ret->output, sizeof(ret->output), "output" },
				 { ret->dead, sizeof(ret->dead), "dead" },
				 { ret->control, sizeof(ret->control), "control" } };

	for (size_t i = 0; i < TOPIC_COUNT; i++)
		(void)snprintf(names[i].to, names[i].size, "%s.%s", prefix, names[i].suffix); /* prefixes are idents */
}

static int describe_failure(rd_kafka_event_t *event, struct err *err)
{
	size_t n = 0;
	const rd_kafka_topic_result_t **results;

	if (rd_kafka_event_error(event))
		return err_set(err, ERR_HOST, 0, "make topics: %s", rd_kafka_event_error_string(event));
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
	for (size_t i = 0; i < n; i++) {
		rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);

		if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
			return err_set(err, ERR_HOST, 0, "make topic '%s': %s", rd_kafka_topic_result_name(results[i]),
				       rd_kafka_err2str(code));
	}
	return 0;
}

static int create(rd_kafka_t *kafka, rd_kafka_NewTopic_t **topics, struct err *err)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	char why[200];
	rd_kafka_event_t *event;
	int r;

	(void)rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, why, sizeof(why)); /* in range */
	rd_kafka_CreateTopics(kafka, topics, TOPIC_COUNT, options, queue);
	event = rd_kafka_queue_poll(queue, REQUEST_MS + 1000);
	r = event ? describe_failure(event, err) : err_set(err, ERR_HOST, ETIMEDOUT, "make topics");
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return r;
}

static void fill(rd_kafka_NewTopic_t **list, const struct topics *topics, int partitions)
{
	const char *const names[TOPIC_COUNT] = { topics->tasks, topics->results, topics->output, topics->dead,
						 topics->control };
	char why[200];

	for (size_t i = 0; i < TOPIC_COUNT; i++)
		list[i] = rd_kafka_NewTopic_new(names[i], i == TOPIC_COUNT - 1 ? 1 : partitions, -1, why, sizeof(why));
	(void)rd_kafka_NewTopic_set_config(list[TOPIC_COUNT - 2], "max.message.bytes", DEAD_MAX_BYTES);
	(void)rd_kafka_NewTopic_set_config(list[TOPIC_COUNT - 1], "retention.ms", CONTROL_KEEP_MS);
}

int topics_ensure(const char *brokers, const struct topics *topics, int partitions, unsigned timeout_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers } };
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	rd_kafka_NewTopic_t *list[TOPIC_COUNT];
	rd_kafka_t *kafka;
	int r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), 0, NULL, &kafka, err);

	if (r < 0)
		return r;
	fill(list, topics, partitions);
	while ((r = create(kafka, list, err)) < 0 && clock_mono_ms() < deadline) {
		log_debug("topics.retry", "message=\"%s\"", err->msg);
		(void)usleep(RETRY_MS * 1000);
	}
	rd_kafka_NewTopic_destroy_array(list, TOPIC_COUNT);
	rd_kafka_destroy(kafka);
	return r < 0 ? err_wrap(err, "brokers '%s' did not make the topics in %u ms; are they running", brokers, timeout_ms) :
		       0;
}
