/* Topics are looked for one by one and made only where they are missing, so that who may not make topics needs no
 * right to. Two that start at once may both find one missing: that it exists by now is no error. */
#include "bus/topics.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/access.h"
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
	ret->sources[0] = ret->tasks;
}

const char *topics_find_source(const struct topics *topics, const char *name)
{
	for (size_t i = 0; i < TOPICS_SOURCES; i++)
		if (strcmp(topics->sources[i], name) == 0)
			return topics->sources[i];
	return NULL;
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
			return err_set(err, access_is_refusal(code) ? ERR_INPUT : ERR_HOST, 0,
				       "make topic '%s', which does not exist: %s", rd_kafka_topic_result_name(results[i]),
				       rd_kafka_err2str(code));
	}
	return 0;
}

static int create(rd_kafka_t *kafka, rd_kafka_NewTopic_t **topics, size_t n, struct err *err)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	char why[200];
	rd_kafka_event_t *event;
	int r;

	(void)rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, why, sizeof(why)); /* in range */
	rd_kafka_CreateTopics(kafka, topics, n, options, queue);
	event = rd_kafka_queue_poll(queue, REQUEST_MS + 1000);
	r = event ? describe_failure(event, err) : err_set(err, ERR_HOST, ETIMEDOUT, "make topics");
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return r;
}

static rd_kafka_NewTopic_t *describe(const struct topics *topics, const char *name, int partitions)
{
	bool is_control = name == topics->control;
	char why[200];
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, is_control ? 1 : partitions, -1, why, sizeof(why));

	if (is_control)
		(void)rd_kafka_NewTopic_set_config(topic, "retention.ms", CONTROL_KEEP_MS);
	if (name == topics->dead)
		(void)rd_kafka_NewTopic_set_config(topic, "max.message.bytes", DEAD_MAX_BYTES);
	return topic;
}

static int exists(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const char *name, struct err *err)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, name, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;
	int r = access_ask(kafka, queue, topic, REQUEST_MS, &metadata, err);

	rd_kafka_topic_destroy(topic);
	if (r < 0)
		return r;
	code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	rd_kafka_metadata_destroy(metadata);
	if (access_is_refusal(code))
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us see topic '%s': %s (docs/operations.md has the list)",
			       name, rd_kafka_err2str(code));
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Only what is missing is made: who may not make topics finds them made. */
static int ensure(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const struct topics *topics, int partitions, struct err *err)
{
	const char *const names[TOPIC_COUNT] = { topics->tasks, topics->results, topics->output, topics->dead,
						 topics->control };
	rd_kafka_NewTopic_t *missing[TOPIC_COUNT];
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < TOPIC_COUNT && r >= 0; i++) {
		r = exists(kafka, queue, names[i], err);
		if (r == 0)
			missing[n++] = describe(topics, names[i], partitions);
	}
	if (r >= 0)
		r = n ? create(kafka, missing, n, err) : 0;
	rd_kafka_NewTopic_destroy_array(missing, n);
	return r;
}

int topics_ensure(const char *brokers, const struct topics *topics, int partitions, unsigned timeout_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers }, { "log_level", "2" } }; /* it is told below */
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	rd_kafka_queue_t *queue;
	rd_kafka_t *kafka;
	int r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_ERROR, NULL, &kafka, err);

	if (r < 0)
		return r;
	queue = rd_kafka_queue_get_main(kafka);
	while ((r = ensure(kafka, queue, topics, partitions, err)) < 0 && err->kind != ERR_INPUT && clock_mono_ms() < deadline) {
		log_debug("topics.retry", "message=\"%s\"", err->msg);
		(void)usleep(RETRY_MS * 1000);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(kafka);
	if (r < 0 && err->kind != ERR_INPUT)
		return err_wrap(err, "brokers '%s' did not make the topics in %u ms; are they running", brokers, timeout_ms);
	return r;
}
