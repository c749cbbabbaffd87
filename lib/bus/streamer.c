/* Theory of operation
 *
 * There is one handle that takes messages. A fatal error of an idempotent producer (the broker forgot it, say) is
 * final for a handle, so another one takes its place at once, and the first is retired: it takes nothing any more,
 * what it had in hand is purged, and it is closed in a turn of its own, when all of that is reported as failed. At
 * most one is retired at a time, and none is replaced sooner than REPLACE_MS after the last: a broker may refuse
 * every producer.
 *
 * So each message is answered once: by the broker's word, by the purge, or by streamer_send() itself. */
#include "bus/streamer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"
#include "loop/timer.h"

#define EVENTS_PER_TURN 64
#define FLUSH_MS 2000
#define REPLACE_MS 1000 /* not more often: a broker may refuse every producer */
#define REPORT_MS 100   /* how often librdkafka is asked whether all that it dropped is reported */

struct handle {
	rd_kafka_t *kafka;
	struct kafka_wake *wake;
	rd_kafka_queue_t *queue; /* the wake's reference keeps it */
};

struct streamer {
	struct event_base *base;
	char *brokers;
	struct handle handle, retired; /* retired: after a fatal error, until all that it had is reported */
	struct timer *retire;
	uint64_t replaced_mono_ms; /* 0: never */
	void (*on_delivered)(void *ctx, void *opaque, bool is_delivered);
	void *ctx;
};

static bool replace_fatal(struct streamer *streamer);

static void take_event(struct streamer *streamer, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DR) {
		(void)replace_fatal(streamer); /* librdkafka logs and mends errors of connections itself */
		return;
	}
	while ((message = rd_kafka_event_message_next(event)))
		streamer->on_delivered(streamer->ctx, message->_private, message->err == RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void on_wake(void *ctx)
{
	struct streamer *streamer = ctx;

	for (int i = 0; i < EVENTS_PER_TURN; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(streamer->handle.queue, 0);

		if (!event)
			return;
		take_event(streamer, event);
		rd_kafka_event_destroy(event);
	}
	kafka_wake_again(streamer->handle.wake);
}

static void handle_close(struct handle *handle)
{
	kafka_wake_free(TAKE_PTR(handle->wake));
	if (handle->kafka)
		rd_kafka_destroy(TAKE_PTR(handle->kafka));
}

static int handle_open(struct streamer *streamer, struct handle *ret, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", streamer->brokers },
					    { "enable.idempotence", "true" },
					    { "linger.ms", "2" },
					    { "compression.type", "none" }, /* of all codecs plain clients have gzip at most */
					    { "queue.buffering.max.kbytes", "65536" },
					    { "message.timeout.ms", "30000" } };
	struct handle handle = { 0 };
	int r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, NULL,
			  &handle.kafka, err);

	if (r == 0) {
		handle.queue = rd_kafka_queue_get_main(handle.kafka);
		r = kafka_wake_new(streamer->base, handle.queue, on_wake, streamer, &handle.wake, err);
	}
	if (r < 0) {
		handle_close(&handle);
		return r;
	}
	*ret = handle;
	return 0;
}

/* Is there another one than before? */
static bool replace_fatal(struct streamer *streamer)
{
	uint64_t now = clock_mono_ms();
	struct handle fresh;
	char why[200];
	struct err err;

	if (!rd_kafka_fatal_error(streamer->handle.kafka, why, sizeof(why)) || streamer->retired.kafka ||
	    (streamer->replaced_mono_ms && now - streamer->replaced_mono_ms < REPLACE_MS))
		return false;
	streamer->replaced_mono_ms = now;
	if (handle_open(streamer, &fresh, &err) < 0) {
		log_error("streamer.replace", "message=\"%s; output is lost meanwhile\" again_in_ms=%d", err.msg, REPLACE_MS);
		return false;
	}
	log_warn("streamer.replace", "message=\"%s; another producer takes its place\"", why);
	streamer->retired = streamer->handle;
	streamer->handle = fresh;
	timer_set_soon(streamer->retire);
	return true;
}

/* Never from within an event of its queue. */
static void on_retire(void *ctx)
{
	struct streamer *streamer = ctx;
	struct handle *retired = &streamer->retired;

	(void)rd_kafka_purge(retired->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	while (rd_kafka_outq_len(retired->kafka) > 0) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(retired->queue, REPORT_MS);

		if (!event)
			continue;
		take_event(streamer, event);
		rd_kafka_event_destroy(event);
	}
	handle_close(retired);
}

int streamer_new(struct event_base *base, const char *brokers,
		 void (*on_delivered)(void *ctx, void *opaque, bool is_delivered), void *ctx, struct streamer **ret,
		 struct err *err)
{
	struct streamer *streamer = calloc(1, sizeof(*streamer));
	int r;

	if (!streamer)
		return err_set(err, ERR_HOST, ENOMEM, "a streamer");
	streamer->base = base;
	streamer->brokers = strdup(brokers);
	streamer->on_delivered = on_delivered;
	streamer->ctx = ctx;
	r = streamer->brokers ? timer_new(base, on_retire, streamer, &streamer->retire, err) :
				err_set(err, ERR_HOST, ENOMEM, "a streamer");
	if (r == 0)
		r = handle_open(streamer, &streamer->handle, err);
	if (r < 0) {
		streamer_free(streamer);
		return r;
	}
	*ret = streamer;
	return 0;
}

static rd_kafka_resp_err_t produce(struct streamer *streamer, const char *topic, const void *key, size_t key_len,
				   const void *data, size_t len, void *opaque)
{
	return rd_kafka_producev(streamer->handle.kafka, RD_KAFKA_V_TOPIC(topic),
				 RD_KAFKA_V_KEY((void *)(uintptr_t)key, key_len),
				 RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				 RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
}

int streamer_send(struct streamer *streamer, const char *topic, const void *key, size_t key_len, const void *data,
		  size_t len, void *opaque, struct err *err)
{
	rd_kafka_resp_err_t code = produce(streamer, topic, key, key_len, data, len, opaque);

	if (code == RD_KAFKA_RESP_ERR__FATAL && replace_fatal(streamer))
		code = produce(streamer, topic, key, key_len, data, len, opaque);
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return -ENOBUFS;
	return code ? err_set(err, ERR_HOST, EIO, "send to '%s': %s", topic, rd_kafka_err2str(code)) : 0;
}

void streamer_free(struct streamer *streamer)
{
	if (!streamer)
		return;
	timer_free(streamer->retire);
	if (streamer->handle.kafka) {
		(void)rd_kafka_flush(streamer->handle.kafka, FLUSH_MS); /* what is left after that is lost with the process */
		(void)rd_kafka_purge(streamer->handle.kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	}
	handle_close(&streamer->handle);
	handle_close(&streamer->retired);
	free(streamer->brokers);
	free(streamer);
}
