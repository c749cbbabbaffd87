/* Rebalances and errors come on the group's queue, which is always polled. Records come on a queue of their own: back-pressure is
 * not polling that, which costs nothing. (rd_kafka_pause_partitions() throws away what was fetched already; with it, a queue
 * that runs full again and again fetches everything three times. It is for single partitions, where that is rare.)
 *
 * A rebalance is answered in two steps: the event says which partitions are ours, the look-up what the group committed for
 * them; only then rd_kafka_assign() starts them. Eager assignment (range): a new one always follows a revocation of all.
 *
 * A static member whose broker stood still for longer than its session joins a second time, and when the broker wakes, the one join
 * fences the other, which is final for librdkafka's handle. So it is opened again: to its owner that is a rebalance like any other.
 * Only a fence that comes again and again is another process of the same name. */
#include "bus/consumer.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define LOOKUP_AGAIN_MS 100  /* a dead member's open transaction holds the offsets until it is fenced or times out */
#define LOOKUPS_TO_WARN 10   /* refused in a row: longer than any transaction takes to time out */
#define REOPENS_MAX 3        /* of the handle, in: */
#define REOPENS_MS 60000
#define BELT_MS 1000         /* a poll at least this often: librdkafka counts polls, and a wake-up may be missed */

static_assert(CONSUMER_BEGINNING == RD_KAFKA_OFFSET_BEGINNING, "librdkafka's word for it");

struct consumer {
	struct event_base *base;
	struct committed *committed;
	rd_kafka_t *kafka; /* NULL only while it is opened again */
	rd_kafka_queue_t *group_events, *records; /* the wakes' references keep them */
	struct kafka_wake *group_wake, *records_wake;
	struct event *belt, *lookup_again, *reopen;
	char *brokers, *topic, *group, *instance_id;
	unsigned session_timeout_ms;
	bool is_fenced; /* this handle is of no more use */
	uint64_t reopens_mono_ms; /* of the first of: */
	unsigned n_reopens;
	unsigned per_turn;
	const struct consumer_events *events;
	void *ctx;
	rd_kafka_topic_partition_list_t *assigned; /* being looked up, then what is assigned; NULL: nothing */
	bool lacks_positions;  /* `assigned` is new, and where to start is not known yet */
	bool is_looking_up; /* a look-up is on its way: the one with this number */
	uint64_t lookup;    /* answers to earlier ones are about an assignment that is over */
	bool is_asking;	    /* Kafka is being asked, for the look-up with this number: */
	uint64_t asked;
	unsigned n_refused; /* look-ups in a row */
	rd_kafka_topic_partition_list_t *unreadable; /* of `assigned`, with the offset that is not there; NULL: none */
	bool is_all_paused;
	bool *is_paused; /* by partition number */
	size_t n_paused;
};

static void forget_unreadable(struct consumer *consumer)
{
	if (consumer->unreadable)
		rd_kafka_topic_partition_list_destroy(TAKE_PTR(consumer->unreadable));
}

static void assign_none(struct consumer *consumer)
{
	rd_kafka_resp_err_t code = rd_kafka_assign(consumer->kafka, NULL);

	if (code)
		log_warn("consumer.assign", "message=\"%s\"", rd_kafka_err2str(code));
	if (consumer->assigned)
		rd_kafka_topic_partition_list_destroy(TAKE_PTR(consumer->assigned));
}

static void on_positions(void *ctx, const struct position *positions, size_t n, const char *why);

static void ask(struct consumer *consumer)
{
	size_t n = (size_t)consumer->assigned->cnt;
	int32_t *partitions = calloc(n, sizeof(*partitions));

	assert(partitions); /* a few bytes a partition */
	for (size_t i = 0; i < n; i++)
		partitions[i] = consumer->assigned->elems[i].partition;
	consumer->is_asking = true;
	consumer->asked = consumer->lookup;
	committed_read(consumer->committed, consumer->group, partitions, n, on_positions, consumer);
	free(partitions);
}

/* One question at a time: the answer to an earlier one asks again. */
static void look_up(struct consumer *consumer)
{
	consumer->is_looking_up = true;
	consumer->lookup++;
	if (!consumer->is_asking)
		ask(consumer);
}

static void pause_what_was(struct consumer *consumer)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(consumer->assigned->cnt);

	for (int i = 0; i < consumer->assigned->cnt; i++) {
		int32_t partition = consumer->assigned->elems[i].partition;

		if ((size_t)partition < consumer->n_paused && consumer->is_paused[partition])
			rd_kafka_topic_partition_list_add(list, consumer->topic, partition);
	}
	if (list->cnt)
		(void)rd_kafka_pause_partitions(consumer->kafka, list); /* errors are per partition, of lost ones */
	rd_kafka_topic_partition_list_destroy(list);
}

/* Before their fetching starts, or their first records would come on the group's queue, after later ones. */
static void forward_records(struct consumer *consumer)
{
	for (int i = 0; i < consumer->assigned->cnt; i++) {
		rd_kafka_queue_t *queue =
			rd_kafka_queue_get_partition(consumer->kafka, consumer->topic, consumer->assigned->elems[i].partition);

		rd_kafka_queue_forward(queue, consumer->records);
		rd_kafka_queue_destroy(queue); /* the reference */
	}
}

static int64_t unreadable_at(const struct consumer *consumer, int32_t partition)
{
	const rd_kafka_topic_partition_t *one =
		consumer->unreadable ? rd_kafka_topic_partition_list_find(consumer->unreadable, consumer->topic, partition) : NULL;

	return one ? one->offset : -1;
}

static void start_partitions(struct consumer *consumer, const struct position *found, size_t n)
{
	struct consumer_position *positions = calloc(n + 1, sizeof(*positions));
	rd_kafka_resp_err_t code;

	assert(positions); /* a few bytes a partition */
	for (size_t i = 0; i < n; i++) {
		positions[i].partition = found[i].partition;
		positions[i].committed = found[i].next;
		positions[i].metadata = found[i].metadata;
		positions[i].start = found[i].next >= 0 ? found[i].next : CONSUMER_BEGINNING;
		positions[i].unreadable = unreadable_at(consumer, found[i].partition);
	}
	forget_unreadable(consumer);
	consumer->events->on_assigned(consumer->ctx, positions, n);
	for (size_t i = 0; i < n; i++) {
		rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_find(consumer->assigned, consumer->topic,
										     positions[i].partition);

		if (one)
			one->offset = positions[i].start;
	}
	free(positions);
	forward_records(consumer);
	code = rd_kafka_assign(consumer->kafka, consumer->assigned);
	if (code)
		log_error("consumer.assign", "message=\"%s\"", rd_kafka_err2str(code));
	pause_what_was(consumer);
}

static void on_rebalance(struct consumer *consumer, rd_kafka_event_t *event)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

	consumer->is_looking_up = consumer->lacks_positions = false;
	forget_unreadable(consumer);
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		assign_none(consumer);
		consumer->events->on_revoked(consumer->ctx);
		return;
	}
	if (consumer->assigned)
		rd_kafka_topic_partition_list_destroy(consumer->assigned);
	consumer->assigned = rd_kafka_topic_partition_list_copy(list);
	consumer->n_refused = 0;
	consumer->lacks_positions = list->cnt > 0;
	if (consumer->lacks_positions)
		look_up(consumer);
	else /* more members than partitions; Kafka does not look up the offsets of nothing */
		start_partitions(consumer, NULL, 0);
}

static void on_positions(void *ctx, const struct position *positions, size_t n, const char *why)
{
	const struct timeval again = { .tv_usec = LOOKUP_AGAIN_MS * 1000 };
	struct consumer *consumer = ctx;

	consumer->is_asking = false;
	if (!consumer->is_looking_up)
		return; /* what it was about is over */
	if (consumer->asked != consumer->lookup) {
		ask(consumer);
		return;
	}
	consumer->is_looking_up = false;
	if (positions) {
		consumer->lacks_positions = false;
		start_partitions(consumer, positions, n);
		return;
	}
	if (++consumer->n_refused % LOOKUPS_TO_WARN == 0)
		log_warn("consumer.lookup", "tries=%u message=\"the group's committed offsets cannot be read: %s\"", consumer->n_refused,
			 why);
	(void)event_add(consumer->lookup_again, &again); /* a timer that exists needs no memory */
}

static void deliver(struct consumer *consumer, const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;
	struct consumer_record record = { .partition = message->partition, .offset = message->offset,
					  .data = message->payload, .len = message->len, .key = message->key,
					  .key_len = message->key_len };
	int64_t time_ms = rd_kafka_message_timestamp(message, &type);

	record.time_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 ? 0 : time_ms;
	if (!message->err)
		consumer->events->on_record(consumer->ctx, &record);
	else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		log_warn("consumer.message", "partition=%d message=\"%s\"", message->partition,
			 rd_kafka_message_errstr(message));
}

/* Whatever code an event has: a fatal error is a state of the handle. Events of it may be in our hands: it is closed later. */
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

/* librdkafka has stopped reading it (auto.offset.reset=error). Only a whole new assignment moves it while the group rebalances
 * eagerly; the others go on where they are. First nothing is assigned, as in a rebalance: what ends takes its queue's forward with it,
 * and forward_records() has to come after that. */
static void note_unreadable(struct consumer *consumer, const rd_kafka_topic_partition_t *where, const char *why)
{
	if (!consumer->assigned || !rd_kafka_topic_partition_list_find(consumer->assigned, consumer->topic, where->partition))
		return;
	log_warn("consumer.unreadable", "partition=%d offset=%lld message=\"%s\"", where->partition, (long long)where->offset, why);
	if (!consumer->unreadable)
		consumer->unreadable = rd_kafka_topic_partition_list_new(1);
	if (!rd_kafka_topic_partition_list_find(consumer->unreadable, consumer->topic, where->partition))
		rd_kafka_topic_partition_list_add(consumer->unreadable, consumer->topic, where->partition)->offset = where->offset;
	if (consumer->lacks_positions)
		return;
	consumer->lacks_positions = true;
	(void)rd_kafka_assign(consumer->kafka, NULL); /* the next one says what is wrong */
	look_up(consumer);
}

/* Of one partition, in the order of its records. false: it is about something else. */
static bool take_partition_event(struct consumer *consumer, rd_kafka_event_t *event)
{
	rd_kafka_topic_partition_t *where = rd_kafka_event_topic_partition(event);
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	bool is_known = where && (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET);

	if (is_known && code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		consumer->events->on_end(consumer->ctx, where->partition, where->offset);
	else if (is_known)
		note_unreadable(consumer, where, rd_kafka_event_error_string(event));
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
			on_rebalance(consumer, event);
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

static void on_lookup_again(evutil_socket_t fd, short what, void *arg)
{
	struct consumer *consumer = arg;

	(void)fd;
	(void)what;
	if (consumer->lacks_positions && !consumer->is_looking_up)
		look_up(consumer);
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
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, consumer->topic, RD_KAFKA_PARTITION_UA);
	code = rd_kafka_subscribe(consumer->kafka, list);
	rd_kafka_topic_partition_list_destroy(list);
	return code ? err_set(err, ERR_HOST, 0, "subscribe to '%s': %s", consumer->topic, rd_kafka_err2str(code)) : 0;
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
					    { "auto.offset.reset", "error" }, /* see note_unreadable() */
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
	r = kafka_wake_new(base, consumer->group_events, on_group_wake, consumer, &consumer->group_wake, err);
	if (r == 0)
		r = kafka_wake_new(base, consumer->records, on_records_wake, consumer, &consumer->records_wake, err);
	return r < 0 ? r : subscribe(consumer, err);
}

static void close_wakes(struct consumer *consumer)
{
	kafka_wake_free(TAKE_PTR(consumer->group_wake));
	kafka_wake_free(TAKE_PTR(consumer->records_wake));
	if (consumer->assigned)
		rd_kafka_topic_partition_list_destroy(TAKE_PTR(consumer->assigned));
	forget_unreadable(consumer);
	consumer->is_looking_up = consumer->lacks_positions = false;
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
	consumer->lookup_again = evtimer_new(consumer->base, on_lookup_again, consumer);
	consumer->reopen = evtimer_new(consumer->base, on_reopen, consumer);
	if (!consumer->belt || !consumer->lookup_again || !consumer->reopen || event_add(consumer->belt, &belt) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "the consumer's timers");
	return 0;
}

int consumer_new(struct event_base *base, const struct consumer_config *config, const struct consumer_events *events,
		 void *ctx, struct consumer **ret, struct err *err)
{
	struct consumer *consumer = calloc(1, sizeof(*consumer));
	int r;

	if (!consumer)
		return err_set(err, ERR_HOST, ENOMEM, "a consumer");
	consumer->base = base;
	consumer->committed = config->committed;
	consumer->brokers = strdup(config->brokers);
	consumer->topic = strdup(config->topic);
	consumer->group = strdup(config->group);
	consumer->instance_id = strdup(config->instance_id);
	consumer->session_timeout_ms = config->session_timeout_ms;
	consumer->per_turn = config->per_turn < 1 ? 1 : config->per_turn;
	consumer->events = events;
	consumer->ctx = ctx;
	r = consumer->brokers && consumer->topic && consumer->group && consumer->instance_id ?
		    0 :
		    err_set(err, ERR_HOST, ENOMEM, "a consumer");
	if (r == 0)
		r = open_kafka(consumer, err);
	if (r == 0)
		r = make_timers(consumer, err);
	if (r < 0) {
		consumer_free(consumer);
		return r;
	}
	*ret = consumer;
	return 0;
}

/* The partition, if it is assigned and its fetching has started. */
static rd_kafka_topic_partition_list_t *list_of(const struct consumer *consumer, int32_t partition)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	if (consumer->assigned && !consumer->lacks_positions &&
	    rd_kafka_topic_partition_list_find(consumer->assigned, consumer->topic, partition))
		rd_kafka_topic_partition_list_add(list, consumer->topic, partition);
	return list;
}

static void mark_paused(struct consumer *consumer, int32_t partition, bool is_paused)
{
	size_t need = (size_t)partition + 1;

	if (need > consumer->n_paused) {
		bool *grown = realloc(consumer->is_paused, need);

		assert(grown); /* a byte a partition */
		memset(grown + consumer->n_paused, 0, need - consumer->n_paused);
		consumer->is_paused = grown;
		consumer->n_paused = need;
	}
	consumer->is_paused[partition] = is_paused;
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

void consumer_pause(struct consumer *consumer, int32_t partition)
{
	rd_kafka_topic_partition_list_t *list = list_of(consumer, partition);

	mark_paused(consumer, partition, true);
	if (list->cnt)
		(void)rd_kafka_pause_partitions(consumer->kafka, list); /* errors are per partition, of lost ones */
	rd_kafka_topic_partition_list_destroy(list);
}

void consumer_resume(struct consumer *consumer, int32_t partition)
{
	rd_kafka_topic_partition_list_t *list = list_of(consumer, partition);

	mark_paused(consumer, partition, false);
	if (list->cnt)
		(void)rd_kafka_resume_partitions(consumer->kafka, list); /* errors are per partition, of lost ones */
	rd_kafka_topic_partition_list_destroy(list);
}

void consumer_rewind(struct consumer *consumer, int32_t partition, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_error_t *error;

	consumer_pause(consumer, partition);
	rd_kafka_topic_partition_list_add(list, consumer->topic, partition)->offset = offset;
	error = rd_kafka_seek_partitions(consumer->kafka, list, 0); /* 0: asks, does not wait */
	if (error) {
		log_warn("consumer.rewind", "partition=%d message=\"%s\"", partition, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

int64_t consumer_log_end(struct consumer *consumer, int32_t partition)
{
	int64_t low, high = 0;

	if (!consumer->kafka ||
	    rd_kafka_get_watermark_offsets(consumer->kafka, consumer->topic, partition, &low, &high))
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
	if (consumer->lookup_again)
		event_free(consumer->lookup_again);
	if (consumer->reopen)
		event_free(consumer->reopen);
	if (consumer->kafka) {
		(void)rd_kafka_consumer_close(consumer->kafka); /* the group notices by its session timeout otherwise */
		rd_kafka_destroy(consumer->kafka);
	}
	free(consumer->is_paused);
	free(consumer->brokers);
	free(consumer->instance_id);
	free(consumer->topic);
	free(consumer->group);
	free(consumer);
}
