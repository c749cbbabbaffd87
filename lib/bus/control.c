/* It is assigned its one partition by hand, from the first record on, at every start: nothing is committed, nobody
 * shares it, and librdkafka goes on by itself when a broker was away. A message without a value says nothing. */
#include "bus/control.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define MESSAGES_PER_TURN 100

struct control_reader {
	rd_kafka_t *kafka;
	rd_kafka_queue_t *queue; /* the wake's reference keeps it */
	struct kafka_wake *wake;
	void (*on_message)(void *ctx, const uint8_t *data, size_t len);
	void *ctx;
};

static void take_event(struct control_reader *reader, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	/* librdkafka looks for the coordinator of the group that nobody joins: whether it may is nobody's business. */
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
	    rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
		log_warn("control.kafka", "message=\"%s\"", rd_kafka_event_error_string(event));
	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_FETCH)
		return;
	while ((message = rd_kafka_event_message_next(event)))
		if (!message->err && message->payload)
			reader->on_message(reader->ctx, message->payload, message->len);
}

static void on_wake(void *ctx)
{
	struct control_reader *reader = ctx;

	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(reader->queue, 0);

		if (!event)
			return;
		take_event(reader, event);
		rd_kafka_event_destroy(event);
	}
	kafka_wake_again(reader->wake);
}

static int assign(struct control_reader *reader, const char *topic, struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	code = rd_kafka_assign(reader->kafka, list);
	rd_kafka_topic_partition_list_destroy(list);
	return code ? err_set(err, ERR_HOST, 0, "read '%s': %s", topic, rd_kafka_err2str(code)) : 0;
}

int control_reader_new(struct event_base *base, const char *brokers, const char *topic,
		       void (*on_message)(void *ctx, const uint8_t *data, size_t len), void *ctx,
		       struct control_reader **ret, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers },
					    { "group.id", "mayfly-control-unused" }, /* assign() wants one; nothing joins it */
					    { "enable.auto.commit", "false" },
					    { "auto.offset.reset", "earliest" },
					    { "fetch.wait.max.ms", "100" } };
	struct control_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return err_set(err, ERR_HOST, ENOMEM, "a control reader");
	reader->on_message = on_message;
	reader->ctx = ctx;
	r = kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR, NULL,
		      &reader->kafka, err);
	if (r == 0) {
		rd_kafka_poll_set_consumer(reader->kafka);
		reader->queue = rd_kafka_queue_get_consumer(reader->kafka);
		r = kafka_wake_new(base, reader->queue, on_wake, reader, &reader->wake, err);
	}
	if (r == 0)
		r = assign(reader, topic, err);
	if (r < 0) {
		control_reader_free(reader);
		return r;
	}
	*ret = reader;
	return 0;
}

void control_reader_free(struct control_reader *reader)
{
	if (!reader)
		return;
	kafka_wake_free(reader->wake);
	if (reader->kafka) {
		(void)rd_kafka_consumer_close(reader->kafka); /* it is in no group */
		rd_kafka_destroy(reader->kafka);
	}
	free(reader);
}
