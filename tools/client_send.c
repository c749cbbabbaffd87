/* The half of a client that sends: an idempotent producer, and one word for each of its records (tools/client_parts.h). */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "bus/access.h"
#include "bus/kafka_conf.h"
#include "tools/client_parts.h"
#include "wire/result.h"

#define QUEUE_FULL_TURN_MS 100
#define FLUSH_POLL_MS	   5

int client_make_producer(struct client *client, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", client->brokers },
					    { "client.id", "mayfly-tool" },
					    { "enable.idempotence", "true" },
					    { "linger.ms", "2" },
					    { "compression.type", "lz4" },
					    { "message.max.bytes", "1048576" },
					    { "queue.buffering.max.kbytes", "65536" },
					    { "message.timeout.ms", "30000" } };
	int r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, NULL,
			  &client->producer, err);

	if (r < 0)
		return r;
	client->producer_queue = rd_kafka_queue_get_main(client->producer);
	client_wake_by(client, client->producer_queue);
	return 0;
}

/* A producer that does not know a topic yet looks for it once a second. To ask for it makes it known at once. */
int client_know(struct client *client, enum client_topic topic, struct err *err)
{
	int n = client->is_known[topic] ? 1
					: client_await_partitions(client, client->producer, client_topic_name(client, topic), err);

	client->is_known[topic] = n > 0;
	return n < 0 ? n : 0;
}

int client_send(struct client *client, enum client_topic topic, const char *key, size_t key_len, const void *data,
		size_t len, void *opaque, struct err *err)
{
	rd_kafka_resp_err_t code;
	int r = client_know(client, topic, err);

	if (r < 0)
		return r;
	for (;;) {
		code = rd_kafka_producev(
			client->producer, RD_KAFKA_V_TOPIC(client_topic_name(client, topic)),
			RD_KAFKA_V_KEY((void *)(uintptr_t)key, key_len), RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || client_is_late(client))
			break;
		client_turn(client, NULL, 0, (int)client_time_left(client, QUEUE_FULL_TURN_MS));
	}
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return err_set(err, ERR_HOST, 0, "Kafka did not take what was sent before it in time; gave up (--within)");
	if (code)
		return err_set(err, ERR_HOST, 0, "send to '%s': %s", client_topic_name(client, topic), rd_kafka_err2str(code));
	client->in_flight++;
	return 0;
}

int client_cancel(struct client *client, const char *id, void *opaque, struct err *err)
{
	struct control control = { .created_ms = clock_wall_ms() };
	cleanup_(buf_free) struct buf bytes = { 0 };

	assert(strlen(id) < sizeof(control.cancel_id));
	memcpy(control.cancel_id, id, strlen(id) + 1);
	if (control_encode(&control, &bytes) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "cancel task %s", id);
	return client_send(client, CLIENT_TOPIC_CONTROL, id, strlen(id), bytes.data, bytes.len, opaque, err);
}

/* A right may be taken away after client_know() has asked: then the delivery says so. */
static const char *say_why(const rd_kafka_message_t *message, char *out, size_t size)
{
	if (!access_is_refusal(message->err))
		return rd_kafka_err2str(message->err);
	(void)snprintf(out, size, "Kafka does not let us write topic '%.80s': %.80s", rd_kafka_topic_name(message->rkt),
		       rd_kafka_err2str(message->err));
	return out;
}

void client_take_deliveries(struct client *client, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	while ((message = rd_kafka_event_message_next(event))) {
		char why[200];
		const struct client_delivery delivery = { .opaque = message->_private,
							  .partition = message->partition,
							  .offset = message->offset,
							  .why = message->err ? say_why(message, why, sizeof(why)) : NULL };

		client->in_flight--;
		if (client->events.on_delivered)
			client->events.on_delivered(client->ctx, &delivery);
	}
}

void client_flush(struct client *client, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ms() + client_time_left(client, timeout_ms);

	while (client->in_flight && clock_mono_ms() < deadline) {
		struct pollfd pollfd = { .fd = client->wake_fd, .events = POLLIN };

		if (!client_drain(client, client->producer_queue) && client->in_flight)
			(void)poll(&pollfd, 1,
				   FLUSH_POLL_MS); /* the wake-up is left to client_turn(): it may be the reader's */
	}
	client->has_more = true;
}

size_t client_in_flight(const struct client *client)
{
	return client->in_flight;
}
