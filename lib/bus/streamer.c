#include "bus/streamer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include "base/own.h"
#include "bus/kafka_conf.h"

#define EVENTS_PER_TURN 64
#define FLUSH_MS 2000

struct streamer {
	rd_kafka_t *kafka;
	struct kafka_wake *wake;
	rd_kafka_queue_t *queue; /* the wake's reference keeps it */
	void (*on_delivered)(void *ctx, void *opaque, bool is_delivered);
	void *ctx;
};

static void take_event(struct streamer *streamer, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DR)
		return; /* librdkafka logs and mends errors of connections itself */
	while ((message = rd_kafka_event_message_next(event)))
		streamer->on_delivered(streamer->ctx, message->_private, message->err == RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void on_wake(void *ctx)
{
	struct streamer *streamer = ctx;

	for (int i = 0; i < EVENTS_PER_TURN; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(streamer->queue, 0);

		if (!event)
			return;
		take_event(streamer, event);
		rd_kafka_event_destroy(event);
	}
	kafka_wake_again(streamer->wake);
}

int streamer_new(struct event_base *base, const char *brokers,
		 void (*on_delivered)(void *ctx, void *opaque, bool is_delivered), void *ctx, struct streamer **ret,
		 struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers },
					    { "enable.idempotence", "true" },
					    { "linger.ms", "2" },
					    { "compression.type", "none" }, /* of all codecs plain clients have gzip at most */
					    { "queue.buffering.max.kbytes", "65536" },
					    { "message.timeout.ms", "30000" } };
	struct streamer *streamer = calloc(1, sizeof(*streamer));
	int r;

	if (!streamer)
		return err_set(err, ERR_HOST, ENOMEM, "a streamer");
	streamer->on_delivered = on_delivered;
	streamer->ctx = ctx;
	r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, NULL,
		      &streamer->kafka, err);
	if (r == 0) {
		streamer->queue = rd_kafka_queue_get_main(streamer->kafka);
		r = kafka_wake_new(base, streamer->queue, on_wake, streamer, &streamer->wake, err);
	}
	if (r < 0) {
		streamer_free(streamer);
		return r;
	}
	*ret = streamer;
	return 0;
}

int streamer_send(struct streamer *streamer, const char *topic, const void *key, size_t key_len, const void *data,
		  size_t len, void *opaque, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_producev(
		streamer->kafka, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY((void *)(uintptr_t)key, key_len),
		RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);

	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return -ENOBUFS;
	return code ? err_set(err, ERR_HOST, EIO, "send to '%s': %s", topic, rd_kafka_err2str(code)) : 0;
}

void streamer_free(struct streamer *streamer)
{
	if (!streamer)
		return;
	if (streamer->kafka)
		(void)rd_kafka_flush(streamer->kafka, FLUSH_MS); /* what is left after that is lost with the process */
	kafka_wake_free(streamer->wake);
	if (streamer->kafka) {
		(void)rd_kafka_purge(streamer->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_destroy(streamer->kafka);
	}
	free(streamer);
}
