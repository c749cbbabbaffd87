/* Theory of operation
 *
 * Rebalances and errors come on the group's queue, which is always polled. Records come on a queue of their own:
 * back-pressure is not polling that, which costs nothing. (rd_kafka_pause_partitions() throws away what was fetched
 * already; with it, a queue that runs full again and again fetches everything three times. It is for single
 * partitions, where that is rare.) What a rebalance leads to is in bus/assignment.c.
 *
 * A handle of librdkafka is open or fenced. A static member whose broker stood still for longer than its session
 * joins a second time, and when the broker wakes, the one join fences the other, which is final for a handle. Events
 * of it may be in our hands then, so it is closed in a turn of the loop of its own, and another one is opened: to the
 * owner that is a rebalance like any other. Only a fence that comes again and again is another process of the same
 * name, and a fault. */
#include "bus/consumer.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/assignment.h"
#include "bus/kafka_conf.h"

#define REOPENS_MAX 3        /* of the handle, in: */
#define REOPENS_MS 60000
#define BELT_MS 1000         /* a poll at least this often: librdkafka counts polls, and a wake-up may be missed */

struct consumer {
	struct event_base *base;
	struct assignment *assignment;
	rd_kafka_t *kafka; /* NULL only while it is opened again */
	rd_kafka_queue_t *group_events, *records; /* the wakes' references keep them */
	struct kafka_wake *group_wake, *records_wake;
	struct event *belt, *reopen;
	char *brokers, *group, *instance_id;
	const char *const *topics; /* borrowed */
	size_t n_topics;
	unsigned session_timeout_ms;
	bool is_fenced; /* this handle is of no more use */
	uint64_t reopens_mono_ms; /* of the first of: */
	unsigned n_reopens;
	unsigned per_turn;
	const struct consumer_events *events;
	void *ctx;
	bool is_all_paused;
};

static void deliver(struct consumer *consumer, const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;
	struct consumer_record record = { .place = { assignment_topic(consumer->assignment, rd_kafka_topic_name(message->rkt)),
						     message->partition, message->offset },
					  .data = message->payload, .len = message->len, .key = message->key,
					  .key_len = message->key_len };
	int64_t time_ms = rd_kafka_message_timestamp(message, &type);

	record.time_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 ? 0 : time_ms;
	if (!message->err)
		consumer->events->on_record(consumer->ctx, &record);
	else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		log_warn("consumer.message", "topic=%s partition=%d message=\"%s\"", record.place.topic, message->partition,
			 rd_kafka_message_errstr(message));
}

/* Whatever code an event has: a fatal error is a state of the handle. Events of it may be in our hands: it is closed
 * later. */
static void look_for_fence(struct consumer *consumer)
{
	char why[200];

	if (consumer->is_fenced || !rd_kafka_fatal_error(consumer->kafka, why, sizeof(why)))
		return;
	consumer->is_fenced = true;
	log_warn("consumer.fenced", "message=\"%s; it joins the group again\"", why);
	event_active(consumer->reopen, EV_TIMEOUT, 0);
}

static void take_error(struct consumer *consumer, rd_kafka_event_t *event)
{
	log_warn("consumer.kafka", "message=\"%s\"", rd_kafka_event_error_string(event));
	look_for_fence(consumer);
}

/* Of one partition, in the order of its records. false: it is about something else. */
static bool take_partition_event(struct consumer *consumer, rd_kafka_event_t *event)
{
	rd_kafka_topic_partition_t *where = rd_kafka_event_topic_partition(event);
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	bool is_known = where && (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET);

	if (is_known && code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		consumer->events->on_end(consumer->ctx,
					 &(struct record_place){ assignment_topic(consumer->assignment, where->topic),
								 where->partition, where->offset });
	else if (is_known)
		assignment_is_unreadable(consumer->assignment, where, rd_kafka_event_error_string(event));
	if (where)
		rd_kafka_topic_partition_destroy(where);
	return is_known;
}

static void on_group_wake(void *ctx)
{
	struct consumer *consumer = ctx;
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(consumer->group_events, 0))) {
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
			assignment_rebalance(consumer->assignment, event);
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && !take_partition_event(consumer, event))
			take_error(consumer, event);
		rd_kafka_event_destroy(event);
	}
}

static unsigned deliver_all(struct consumer *consumer, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	unsigned n = 0;

	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && !take_partition_event(consumer, event))
		take_error(consumer, event);
	while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH && (message = rd_kafka_event_message_next(event))) {
		deliver(consumer, message);
		n++;
	}
	return n;
}

static void on_records_wake(void *ctx)
{
	struct consumer *consumer = ctx;
	unsigned n = 0;

	while (n < consumer->per_turn && !consumer->is_all_paused) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->records, 0);

		if (!event)
			return;
		n += deliver_all(consumer, event);
		rd_kafka_event_destroy(event);
	}
	if (!consumer->is_all_paused)
		kafka_wake_again(consumer->records_wake);
}

static void on_belt(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	on_group_wake(arg);
	on_records_wake(arg);
	look_for_fence(arg);
}

static int subscribe(struct consumer *consumer, struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->n_topics);
	rd_kafka_resp_err_t code;

	for (size_t i = 0; i < consumer->n_topics; i++)
		rd_kafka_topic_partition_list_add(list, consumer->topics[i], RD_KAFKA_PARTITION_UA);
	code = rd_kafka_subscribe(consumer->kafka, list);
	rd_kafka_topic_partition_list_destroy(list);
	if (!code)
		return 0;
	return err_set(err, ERR_HOST, 0, "subscribe to '%s' and %zu more: %s", consumer->topics[0],
		       consumer->n_topics - 1, rd_kafka_err2str(code));
}

static int make_handle(struct consumer *consumer, struct err *err)
{
	char session[16];
	const struct kafka_pair pairs[] = { { "bootstrap.servers", consumer->brokers },
					    { "group.id", consumer->group },
					    { "group.instance.id", consumer->instance_id },
					    { "session.timeout.ms", session },
					    { "heartbeat.interval.ms", "1000" },
					    { "partition.assignment.strategy", "range" },
					    { "enable.auto.commit", "false" },
					    { "enable.auto.offset.store", "false" },
					    { "auto.offset.reset", "error" }, /* see assignment_is_unreadable() */
					    { "enable.partition.eof", "true" },
					    { "isolation.level", "read_committed" },
					    { "queued.min.messages", "10000" }, /* so many wait here, or so many kB: */
					    { "queued.max.messages.kbytes", "4096" },
					    { "fetch.wait.max.ms", "50" },
					    { "fetch.error.backoff.ms", "50" },
					    { "reconnect.backoff.max.ms", "1000" } };

	(void)snprintf(session, sizeof(session), "%u", consumer->session_timeout_ms);
	return kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs),
			 RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR, NULL, &consumer->kafka,
			 err);
}

static int open_kafka(struct consumer *consumer, struct err *err)
{
	struct event_base *base = consumer->base;
	int r = make_handle(consumer, err);

	if (r < 0)
		return r;
	rd_kafka_poll_set_consumer(consumer->kafka);
	consumer->group_events = rd_kafka_queue_get_consumer(consumer->kafka);
	consumer->records = rd_kafka_queue_new(consumer->kafka);
	assignment_open(consumer->assignment, consumer->kafka, consumer->records);
	r = kafka_wake_new(base, consumer->group_events, on_group_wake, consumer, &consumer->group_wake, err);
	if (r == 0)
		r = kafka_wake_new(base, consumer->records, on_records_wake, consumer, &consumer->records_wake, err);
	return r < 0 ? r : subscribe(consumer, err);
}

static void close_wakes(struct consumer *consumer)
{
	kafka_wake_free(TAKE_PTR(consumer->group_wake));
	kafka_wake_free(TAKE_PTR(consumer->records_wake));
	if (consumer->assignment)
		assignment_close(consumer->assignment);
}

static void on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct consumer *consumer = arg;
	uint64_t now = clock_mono_ms();
	struct err err;

	(void)fd;
	(void)what;
	if (now - consumer->reopens_mono_ms >= REOPENS_MS) {
		consumer->reopens_mono_ms = now;
		consumer->n_reopens = 0;
	}
	if (consumer->n_reopens++ == REOPENS_MAX) {
		(void)err_set(&err, ERR_HOST, 0,
			      "Kafka consumer: fenced %d times in %d s; does another worker have the name '%s'?",
			      REOPENS_MAX + 1, REOPENS_MS / 1000, consumer->instance_id);
		consumer->events->on_fault(consumer->ctx, &err);
		return;
	}
	consumer->events->on_revoked(consumer->ctx);
	close_wakes(consumer);
	rd_kafka_destroy_flags(TAKE_PTR(consumer->kafka), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	consumer->is_fenced = false;
	if (open_kafka(consumer, &err) < 0)
		consumer->events->on_fault(consumer->ctx, &err);
}

static int make_timers(struct consumer *consumer, struct err *err)
{
	const struct timeval belt = { .tv_sec = BELT_MS / 1000 };

	consumer->belt = event_new(consumer->base, -1, EV_PERSIST, on_belt, consumer);
	consumer->reopen = evtimer_new(consumer->base, on_reopen, consumer);
	if (!consumer->belt || !consumer->reopen || event_add(consumer->belt, &belt) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "the consumer's timers");
	return 0;
}

DEFINE_FREEP(struct consumer, consumer_free)

static int copy_config(struct consumer *consumer, const struct consumer_config *config, struct err *err)
{
	consumer->brokers = strdup(config->brokers);
	consumer->group = strdup(config->group);
	consumer->instance_id = strdup(config->instance_id);
	consumer->topics = config->topics;
	consumer->n_topics = config->n_topics;
	consumer->session_timeout_ms = config->session_timeout_ms;
	consumer->per_turn = config->per_turn < 1 ? 1 : config->per_turn;
	if (consumer->brokers && consumer->group && consumer->instance_id)
		return 0;
	return err_set(err, ERR_HOST, ENOMEM, "a consumer");
}

int consumer_new(struct event_base *base, const struct consumer_config *config, const struct consumer_events *events,
		 void *ctx, struct consumer **ret, struct err *err)
{
	cleanup_(consumer_freep) struct consumer *consumer = calloc(1, sizeof(*consumer));
	struct assignment_config assignment = { .topics = config->topics, .n_topics = config->n_topics,
						.committed = config->committed };
	int r;

	if (!consumer)
		return err_set(err, ERR_HOST, ENOMEM, "a consumer");
	consumer->base = base;
	consumer->events = events;
	consumer->ctx = ctx;
	r = copy_config(consumer, config, err);
	assignment.group = consumer->group;
	if (r == 0)
		r = assignment_new(base, &assignment, events, ctx, &consumer->assignment, err);
	if (r == 0)
		r = open_kafka(consumer, err);
	if (r == 0)
		r = make_timers(consumer, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(consumer);
	return 0;
}

void consumer_pause_all(struct consumer *consumer)
{
	consumer->is_all_paused = true;
}

void consumer_resume_all(struct consumer *consumer)
{
	consumer->is_all_paused = false;
	kafka_wake_again(consumer->records_wake);
}

void consumer_pause(struct consumer *consumer, const char *topic, int32_t partition)
{
	assignment_pause(consumer->assignment, topic, partition);
}

void consumer_resume(struct consumer *consumer, const char *topic, int32_t partition)
{
	assignment_resume(consumer->assignment, topic, partition);
}

void consumer_rewind(struct consumer *consumer, const struct record_place *place)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_error_t *error;

	assignment_pause(consumer->assignment, place->topic, place->partition);
	rd_kafka_topic_partition_list_add(list, place->topic, place->partition)->offset = place->offset;
	error = rd_kafka_seek_partitions(consumer->kafka, list, 0); /* 0: asks, does not wait */
	if (error) {
		log_warn("consumer.rewind", "topic=%s partition=%d message=\"%s\"", place->topic, place->partition,
			 rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

int64_t consumer_log_end(struct consumer *consumer, const char *topic, int32_t partition)
{
	int64_t low, high = 0;

	if (!consumer->kafka || rd_kafka_get_watermark_offsets(consumer->kafka, topic, partition, &low, &high))
		return 0;
	return high < 0 ? 0 : high;
}

void *consumer_handle(struct consumer *consumer)
{
	return consumer->kafka;
}

void consumer_free(struct consumer *consumer)
{
	if (!consumer)
		return;
	close_wakes(consumer);
	if (consumer->belt)
		event_free(consumer->belt);
	if (consumer->reopen)
		event_free(consumer->reopen);
	if (consumer->kafka) {
		(void)rd_kafka_consumer_close(consumer->kafka); /* the group notices by its session timeout otherwise */
		rd_kafka_destroy(consumer->kafka);
	}
	assignment_free(consumer->assignment);
	free(consumer->brokers);
	free(consumer->instance_id);
	free(consumer->group);
	free(consumer);
}
