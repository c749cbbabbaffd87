#include "bus/control.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/own.h"

#define MESSAGES_PER_TURN 100

struct control_reader {
	rd_kafka_t *kafka;
	rd_kafka_queue_t *queue;
	int wake_fd;
	struct event *wake;
	void (*on_message)(void *ctx, const uint8_t *data, size_t len);
	void *ctx;
};

static void take_event(struct control_reader *reader, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_FETCH:
		while ((message = rd_kafka_event_message_next(event)))
			if (!message->err && message->payload)
				reader->on_message(reader->ctx, message->payload, message->len);
		return;
	case RD_KAFKA_EVENT_ERROR:
		log_warn("control.kafka", "message=\"%s\"", rd_kafka_event_error_string(event));
		return;
	default:
		return;
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct control_reader *reader = arg;
	rd_kafka_event_t *event;
	uint64_t ticks;

	(void)what;
	if (read(fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		log_warn("control.wake", "errno=%d", errno);
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		event = rd_kafka_queue_poll(reader->queue, 0);
		if (!event)
			return;
		take_event(reader, event);
		rd_kafka_event_destroy(event);
	}
	event_active(reader->wake, EV_READ, 0); /* more may be left, and the queue tells only when it was empty */
}

static int make_kafka(const char *brokers, rd_kafka_t **ret, struct err *err)
{
	const char *const pairs[][2] = { { "bootstrap.servers", brokers },
					 { "group.id", "mayfly-control-unused" }, /* assign() needs one; nothing joins it */
					 { "enable.auto.commit", "false" },
					 { "auto.offset.reset", "earliest" },
					 { "fetch.wait.max.ms", "100" },
					 { "topic.metadata.refresh.fast.interval.ms", "100" } };
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], why, sizeof(why)) == RD_KAFKA_CONF_OK)
			continue;
		rd_kafka_conf_destroy(conf);
		return err_set(err, ERR_HOST, 0, "librdkafka refused %s: %s", pairs[i][0], why);
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR);
	*ret = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	if (*ret)
		return 0;
	rd_kafka_conf_destroy(conf);
	return err_set(err, ERR_HOST, 0, "make the control consumer: %s", why);
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

static int watch(struct control_reader *reader, struct event_base *base, struct err *err)
{
	static const uint64_t one = 1;

	reader->queue = rd_kafka_queue_get_consumer(reader->kafka);
	reader->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (reader->wake_fd < 0)
		return err_set(err, ERR_HOST, errno, "an eventfd for the control consumer");
	reader->wake = event_new(base, reader->wake_fd, EV_READ | EV_PERSIST, on_wake, reader);
	if (!reader->wake || event_add(reader->wake, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch the control consumer");
	rd_kafka_queue_io_event_enable(reader->queue, reader->wake_fd, &one, sizeof(one));
	event_active(reader->wake, EV_READ, 0);
	return 0;
}

int control_reader_new(struct event_base *base, const char *brokers, const char *topic,
		       void (*on_message)(void *ctx, const uint8_t *data, size_t len), void *ctx,
		       struct control_reader **ret, struct err *err)
{
	struct control_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return err_set(err, ERR_HOST, ENOMEM, "a control reader");
	reader->wake_fd = -1;
	reader->on_message = on_message;
	reader->ctx = ctx;
	r = make_kafka(brokers, &reader->kafka, err);
	if (r == 0) {
		rd_kafka_poll_set_consumer(reader->kafka);
		r = watch(reader, base, err);
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
	if (reader->queue) {
		rd_kafka_queue_io_event_enable(reader->queue, -1, NULL, 0);
		rd_kafka_queue_destroy(reader->queue);
	}
	if (reader->wake)
		event_free(reader->wake);
	if (reader->kafka) {
		(void)rd_kafka_consumer_close(reader->kafka); /* it is in no group */
		rd_kafka_destroy(reader->kafka);
	}
	close_fd(&reader->wake_fd);
	free(reader);
}
