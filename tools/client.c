#include "tools/client.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "bus/access.h"
#include "bus/kafka_conf.h"
#include "bus/topics.h"
#include "wire/result.h"

#define ANSWER_MS	5000  /* of Kafka to a question about a topic */
#define APPEAR_MS	10000 /* a topic that the first worker is just making */
#define RETRY_MS 200 /* between two tries */
#define EVENTS_PER_TURN 256
#define QUEUE_FULL_TURN_MS 100
#define FLUSH_POLL_MS	5
#define UUID_CHARS	36
#define READ_AHEAD_KIB	"8192" /* beyond what is wanted, at most: a reader of a few records wants no more */
#define SILENT_MS	20000  /* of a broker that has records for us: then something is wrong */

struct client {
	struct client_events events;
	void *ctx;
	char brokers[CONF_TEXT_MAX];
	struct topics topics;
	rd_kafka_t *producer, *consumer; /* the consumer exists once something is followed */
	rd_kafka_queue_t *producer_queue, *consumer_queue;
	int wake_fd;
	bool has_more; /* left in a queue after the last turn: no wake-up will come for it */
	size_t in_flight;
	uint64_t deadline_mono_ms; /* 0: none */
	bool is_in;	   /* Kafka has let us in */
	char refusal[200]; /* what Kafka began to refuse meanwhile, "" */
	bool is_known[CLIENT_TOPIC_COUNT]; /* the producer has the topic's metadata */
};

static const char *topic_name(const struct client *client, enum client_topic topic)
{
	const char *const names[] = { client->topics.tasks, client->topics.control, client->topics.results,
				      client->topics.output };
	static_assert(ARRAY_SIZE(names) == CLIENT_TOPIC_COUNT, "a name for every client_topic");

	return names[topic];
}

/* CLIENT_TOPIC_COUNT when it is none of ours. */
static enum client_topic topic_of(const struct client *client, const char *name)
{
	unsigned topic = 0;

	while (topic < CLIENT_TOPIC_COUNT && strcmp(name, topic_name(client, (enum client_topic)topic)) != 0)
		topic++;
	return (enum client_topic)topic;
}

static void wake_by(struct client *client, rd_kafka_queue_t *queue)
{
	static const uint64_t one = 1;

	rd_kafka_queue_io_event_enable(queue, client->wake_fd, &one, sizeof(one));
	client->has_more = true; /* what came before this line woke nobody */
}

static int make_producer(struct client *client, struct err *err)
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
	wake_by(client, client->producer_queue);
	return 0;
}

int client_new(const struct target *target, const struct client_events *events, void *ctx, struct client **ret,
	       struct err *err)
{
	cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return err_set(err, ERR_HOST, ENOMEM, "a Kafka client");
	if (events)
		client->events = *events;
	client->ctx = ctx;
	memcpy(client->brokers, target->fleet.brokers, sizeof(client->brokers));
	topics_name(target->fleet.topic_prefix, &client->topics);
	client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (client->wake_fd < 0)
		return err_set(err, ERR_HOST, errno, "an eventfd for Kafka");
	r = fleet_use_kafka(&target->fleet, KAFKA_FILES_BY_PATH, err);
	if (r == 0)
		r = make_producer(client, err);
	if (r == 0)
		*ret = TAKE_PTR(client);
	return r;
}

void client_until(struct client *client, uint64_t deadline_mono_ms)
{
	client->deadline_mono_ms = deadline_mono_ms;
}

/* What is left of `most_ms`. */
static uint64_t time_left(const struct client *client, uint64_t most_ms)
{
	uint64_t now = clock_mono_ms();
	uint64_t left = client->deadline_mono_ms > now ? client->deadline_mono_ms - now : 0;

	return client->deadline_mono_ms && left < most_ms ? left : most_ms;
}

static bool is_late(const struct client *client)
{
	return client->deadline_mono_ms && clock_mono_ms() >= client->deadline_mono_ms;
}

static int no_answer(const struct client *client, const char *why, struct err *err)
{
	return err_set(
		err, ERR_HOST, 0,
		"Kafka at %.60s does not answer (%.70s). Start a private stack with `mayfly dev start`, or name yours with "
		"--brokers",
		client->brokers, why);
}

/* Once, before anything is sent. */
static int get_in(struct client *client, unsigned timeout_ms, struct err *err)
{
	const struct rd_kafka_metadata *metadata;
	char why[sizeof(err->msg)];
	int r;

	if (client->is_in)
		return 0;
	r = access_ask(client->producer, client->producer_queue, NULL, timeout_ms, &metadata, err);
	if (r < 0 && err->kind == ERR_INPUT)
		return r;
	memcpy(why, err->msg, sizeof(why));
	if (r < 0)
		return no_answer(client, why, err);
	rd_kafka_metadata_destroy(metadata);
	client->is_in = true;
	return 0;
}

int client_probe(struct client *client, unsigned timeout_ms, struct err *err)
{
	return get_in(client, timeout_ms, err);
}

/* Kafka makes a static member's id of its instance's name, a '-' and a UUID. */
static bool has_member(const struct rd_kafka_group_info *group, const char *instance)
{
	for (int i = 0; i < group->member_cnt; i++) {
		const char *id = group->members[i].member_id;

		if (!instance || (strlen(id) == strlen(instance) + 1 + UUID_CHARS && id[strlen(instance)] == '-' &&
				  strncmp(id, instance, strlen(instance)) == 0))
			return true;
	}
	return false;
}

bool client_group_is_ready(struct client *client, const char *group, const char *instance, unsigned timeout_ms,
			   const char **ret_refusal)
{
	const struct rd_kafka_group_list *list;
	bool is_ready = false;

	*ret_refusal = NULL;
	if (rd_kafka_list_groups(client->producer, group, &list, (int)timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	for (int i = 0; i < list->group_cnt; i++)
		if (access_is_refusal(list->groups[i].err))
			*ret_refusal = rd_kafka_err2str(list->groups[i].err);
	for (int i = 0; i < list->group_cnt; i++)
		is_ready |= strcmp(list->groups[i].state, "Stable") == 0 && has_member(&list->groups[i], instance);
	rd_kafka_group_list_destroy(list);
	return is_ready;
}

/* The number of partitions, 0 when there is no such topic, or an error. */
static int count_partitions(struct client *client, rd_kafka_t *kafka, const char *topic, struct err *err)
{
	rd_kafka_topic_t *handle;
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;
	int n = get_in(client, (unsigned)time_left(client, ANSWER_MS), err);

	if (n < 0)
		return n;
	handle = rd_kafka_topic_new(kafka, topic, NULL);
	if (!handle)
		return err_set(err, ERR_HOST, 0, "topic '%s': %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
	code = rd_kafka_metadata(kafka, 0, handle, &metadata, (int)time_left(client, ANSWER_MS));
	rd_kafka_topic_destroy(handle);
	if (code)
		return no_answer(client, rd_kafka_err2str(code), err);
	code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		n = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	if (access_is_refusal(code))
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us see topic '%s': %s", topic, rd_kafka_err2str(code));
	return n;
}

static int await_partitions(struct client *client, rd_kafka_t *kafka, const char *topic, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + time_left(client, APPEAR_MS);
	int n;

	while ((n = count_partitions(client, kafka, topic, err)) == 0 && clock_mono_ms() < deadline)
		(void)usleep(RETRY_MS * 1000);
	return n ? n
		 : err_set(err, ERR_HOST, 0,
			   "topic '%s' does not exist: no worker has ever run with this prefix. Start one (`mayfly dev start`), "
			   "or name another fleet with --prefix",
			   topic);
}

/* A topic that was just made has leaders a moment later. */
static bool lacks_leader(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
	       code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static int find_start(struct client *client, const char *topic, int32_t partition, enum client_from from, int64_t *ret,
		      struct err *err)
{
	uint64_t deadline = clock_mono_ms() + time_left(client, APPEAR_MS);
	rd_kafka_resp_err_t code;
	int64_t low;

	*ret = RD_KAFKA_OFFSET_BEGINNING;
	if (from == CLIENT_FROM_BEGINNING)
		return 0;
	while (lacks_leader(code = rd_kafka_query_watermark_offsets(client->consumer, topic, partition, &low, ret,
							    (int)time_left(client, ANSWER_MS))) &&
	       clock_mono_ms() < deadline)
		(void)usleep(RETRY_MS * 1000);
	if (access_is_refusal(code))
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us read topic '%s': %s", topic, rd_kafka_err2str(code));
	return code ? no_answer(client, rd_kafka_err2str(code), err) : 0;
}

static int add_topic(struct client *client, const char *topic, enum client_from from,
		     rd_kafka_topic_partition_list_t *list, struct err *err)
{
	int n = await_partitions(client, client->consumer, topic, err);
	int64_t start;
	int r;

	for (int i = 0; i < n; i++) {
		r = find_start(client, topic, i, from, &start, err);
		if (r < 0)
			return r;
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = start;
	}
	return n < 0 ? n : 0;
}

static int make_consumer(struct client *client, struct err *err)
{
	const struct kafka_pair pairs[] = {
		{ "bootstrap.servers", client->brokers }, { "client.id", "mayfly-tool" },
		{ "group.id", "mayfly-tool-unused" }, /* assign() wants one; nothing joins it */
		{ "enable.auto.commit", "false" },	  { "isolation.level", "read_committed" },
		{ "auto.offset.reset", "earliest" },	  { "fetch.error.backoff.ms", "50" },
		{ "enable.partition.eof", "true" },	  { "queued.max.messages.kbytes", READ_AHEAD_KIB },
		{ "fetch.wait.max.ms", "100" } /* a fetch that waits for more holds up the next range */
	};
	int r;

	if (client->consumer)
		return 0;
	r = kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs), RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR,
			  NULL, &client->consumer, err);

	if (r < 0)
		return r;
	(void)rd_kafka_poll_set_consumer(client->consumer); /* fails only for a producer */
	client->consumer_queue = rd_kafka_queue_get_consumer(client->consumer);
	wake_by(client, client->consumer_queue);
	return 0;
}

static int assign(struct client *client, const rd_kafka_topic_partition_list_t *list, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_assign(client->consumer, list);

	return code ? err_set(err, ERR_HOST, 0, "read from Kafka: %s", rd_kafka_err2str(code)) : 0;
}

int client_follow(struct client *client, const enum client_topic *topics, size_t n, enum client_from from,
		  struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
	int r = make_consumer(client, err);

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_topic(client, topic_name(client, topics[i]), from, list, err);
	if (r == 0)
		r = assign(client, list, err);
	rd_kafka_topic_partition_list_destroy(list);
	return r;
}

int client_follow_ranges(struct client *client, const struct client_range *ranges, size_t n, struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
	int r = make_consumer(client, err);

	for (size_t i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, topic_name(client, ranges[i].topic), ranges[i].partition)->offset =
			ranges[i].from;
	if (r == 0)
		r = assign(client, list, err);
	rd_kafka_topic_partition_list_destroy(list);
	return r;
}

int client_partitions(struct client *client, enum client_topic topic, int *ret_n, struct err *err)
{
	int r = make_consumer(client, err);

	if (r == 0)
		r = await_partitions(client, client->consumer, topic_name(client, topic), err);
	if (r > 0)
		*ret_n = r;
	return r < 0 ? r : 0;
}

int32_t client_partition_of(const char *id, int n)
{
	return rd_kafka_msg_partitioner_consistent(NULL, id, strlen(id), n, NULL, NULL);
}

int client_range(struct client *client, enum client_topic topic, int32_t partition, struct client_range *ret,
		 struct err *err)
{
	rd_kafka_resp_err_t code;
	int r = make_consumer(client, err);

	*ret = (struct client_range){ .topic = topic, .partition = partition };
	if (r < 0)
		return r;
	if (is_late(client)) /* librdkafka may ask for longer than it was told to */
		return no_answer(client, rd_kafka_err2str(RD_KAFKA_RESP_ERR__TIMED_OUT), err);
	code = rd_kafka_query_watermark_offsets(client->consumer, topic_name(client, topic), partition, &ret->from, &ret->to,
						(int)time_left(client, ANSWER_MS));
	return code ? no_answer(client, rd_kafka_err2str(code), err) : 0;
}

int client_offset_at(struct client *client, const struct client_range *range, int64_t time_ms, int64_t *ret,
		     struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, topic_name(client, range->topic), range->partition)->offset = time_ms;
	code = rd_kafka_offsets_for_times(client->consumer, list, (int)time_left(client, ANSWER_MS));
	code = code ? code : list->elems[0].err;
	*ret = list->elems[0].offset < 0 ? -1 : list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return code ? no_answer(client, rd_kafka_err2str(code), err) : 0;
}

/* A producer that was never told of a topic finds it by a timer, up to a second after its first message; asked, at once. */
int client_know(struct client *client, enum client_topic topic, struct err *err)
{
	int n = client->is_known[topic] ? 1
					: await_partitions(client, client->producer, topic_name(client, topic), err);

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
			client->producer, RD_KAFKA_V_TOPIC(topic_name(client, topic)),
			RD_KAFKA_V_KEY((void *)(uintptr_t)key, key_len), RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || is_late(client))
			break;
		client_turn(client, NULL, 0, (int)time_left(client, QUEUE_FULL_TURN_MS));
	}
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return err_set(err, ERR_HOST, 0, "Kafka did not take what was sent before it in time; gave up (--within)");
	if (code)
		return err_set(err, ERR_HOST, 0, "send to '%s': %s", topic_name(client, topic), rd_kafka_err2str(code));
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

/* The first of them; the command ends with it. */
static void note_refusal(struct client *client, rd_kafka_resp_err_t code, const char *topic, const char *text)
{
	/* librdkafka looks for the coordinator of a group that nobody joins: whether it may is nobody's business. */
	if (!access_is_refusal(code) || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || client->refusal[0])
		return;
	if (topic)
		(void)snprintf(client->refusal, sizeof(client->refusal), "Kafka does not let us read topic '%.80s': %.80s", topic,
			       rd_kafka_err2str(code));
	else
		(void)snprintf(client->refusal, sizeof(client->refusal), "Kafka does not let us go on: %.160s", text);
	client->refusal[strcspn(client->refusal, "\n")] = '\0';
}

const char *client_refusal(const struct client *client)
{
	return client->refusal[0] ? client->refusal : NULL;
}

static void take_deliveries(struct client *client, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	while ((message = rd_kafka_event_message_next(event))) {
		const struct client_delivery delivery = { .opaque = message->_private,
							  .partition = message->partition,
							  .offset = message->offset,
							  .why = message->err ? rd_kafka_err2str(message->err) : NULL };

		client->in_flight--;
		if (client->events.on_delivered)
			client->events.on_delivered(client->ctx, &delivery);
	}
}

/* False when it is no record: librdkafka mends what can be mended; a tombstone is none of ours. */
static bool read_record(const struct client *client, const rd_kafka_message_t *message, struct client_record *ret)
{
	if (message->err || !message->payload || !message->rkt)
		return false;
	*ret = (struct client_record){ .topic = topic_of(client, rd_kafka_topic_name(message->rkt)),
				       .time_ms = rd_kafka_message_timestamp(message, NULL),
				       .partition = message->partition,
				       .offset = message->offset,
				       .key = message->key,
				       .key_len = message->key_len,
				       .data = message->payload,
				       .len = message->len };
	return ret->topic < CLIENT_TOPIC_COUNT;
}

/* The end of a partition is no record but an event of its own, which says where it lies. */
static bool read_end(const struct client *client, rd_kafka_event_t *event, struct client_record *ret)
{
	rd_kafka_topic_partition_t *at;

	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR ||
	    rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return false;
	at = rd_kafka_event_topic_partition(event);
	if (!at)
		return false;
	*ret = (struct client_record){ .topic = topic_of(client, at->topic), .partition = at->partition, .offset = at->offset };
	rd_kafka_topic_partition_destroy(at);
	return ret->topic < CLIENT_TOPIC_COUNT;
}

static void take_records(struct client *client, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	struct client_record record;

	while ((message = rd_kafka_event_message_next(event))) {
		if (message->err)
			note_refusal(client, message->err, message->rkt ? rd_kafka_topic_name(message->rkt) : "", NULL);
		if (read_record(client, message, &record) && client->events.on_record)
			client->events.on_record(client->ctx, &record);
	}
}

struct reading {
	const struct client_range *range;
	void (*on_record)(void *ctx, const struct client_record *record);
	void *ctx;
	bool is_over;
	uint64_t heard_mono_ms;
};

/* False for what is left of an earlier assignment. */
static bool is_of_range(const struct client_range *range, const struct client_record *record)
{
	return record->topic == range->topic && record->partition == range->partition && record->offset >= range->from;
}

/* Offsets have holes where transactions begin and end: what lies beyond the range, or the end of the partition, ends it. */
static void take_of_range(struct client *client, struct reading *reading, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	struct client_record record;

	if (read_end(client, event, &record) && is_of_range(reading->range, &record))
		reading->is_over = true;
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		note_refusal(client, rd_kafka_event_error(event), NULL, rd_kafka_event_error_string(event));
	while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH && (message = rd_kafka_event_message_next(event))) {
		if (!read_record(client, message, &record) || !is_of_range(reading->range, &record))
			continue;
		reading->heard_mono_ms = clock_mono_ms();
		if (record.offset < reading->range->to)
			reading->on_record(reading->ctx, &record);
		reading->is_over |= record.offset + 1 >= reading->range->to;
	}
}

int client_read(struct client *client, const struct client_range *range,
		void (*on_record)(void *ctx, const struct client_record *record), void *ctx, struct err *err)
{
	struct reading reading = { .range = range, .on_record = on_record, .ctx = ctx, .heard_mono_ms = clock_mono_ms() };
	int r = range->from >= range->to ? 0 : client_follow_ranges(client, range, 1, err);

	reading.is_over = range->from >= range->to;
	while (r == 0 && !reading.is_over) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(client->consumer_queue, (int)time_left(client, RETRY_MS));

		take_of_range(client, &reading, event);
		rd_kafka_event_destroy(event);
		if (client_refusal(client))
			return err_set(err, ERR_INPUT, 0, "%s", client_refusal(client));
		if (!reading.is_over && (is_late(client) || clock_mono_ms() - reading.heard_mono_ms > SILENT_MS))
			r = no_answer(client, rd_kafka_err2str(RD_KAFKA_RESP_ERR__TIMED_OUT), err);
	}
	return r;
}

/* Answers whether more may be left. */
static bool drain(struct client *client, rd_kafka_queue_t *queue)
{
	for (int i = 0; queue && i < EVENTS_PER_TURN; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 0);

		if (!event)
			return false;
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
			take_deliveries(client, event);
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH)
			take_records(client, event);
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && queue == client->consumer_queue)
			note_refusal(client, rd_kafka_event_error(event), NULL, rd_kafka_event_error_string(event));
		rd_kafka_event_destroy(event);
	}
	return queue != NULL;
}

static void wait_for(struct client *client, struct pollfd *others, size_t n, int timeout_ms)
{
	struct pollfd fds[4] = { { .fd = client->wake_fd, .events = POLLIN } };
	uint64_t ticks;

	assert(n < ARRAY_SIZE(fds));
	for (size_t i = 0; i < n; i++)
		fds[1 + i] = others[i];
	if (poll(fds, 1 + n, client->has_more ? 0 : timeout_ms) < 0)
		memset(fds, 0, sizeof(fds)); /* a signal: nothing is ready */
	for (size_t i = 0; i < n; i++)
		others[i].revents = fds[1 + i].revents;
	if (fds[0].revents)
		(void)!read(client->wake_fd, &ticks, sizeof(ticks)); /* only to empty it */
}

void client_turn(struct client *client, struct pollfd *others, size_t n, int timeout_ms)
{
	bool has_more;

	wait_for(client, others, n, timeout_ms);
	has_more = drain(client, client->producer_queue); /* first: a delivery comes before the result of its task */
	client->has_more = drain(client, client->consumer_queue) || has_more;
}

void client_flush(struct client *client, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ms() + time_left(client, timeout_ms);

	while (client->in_flight && clock_mono_ms() < deadline) {
		struct pollfd pollfd = { .fd = client->wake_fd, .events = POLLIN };

		if (!drain(client, client->producer_queue) && client->in_flight)
			(void)poll(&pollfd, 1,
				   FLUSH_POLL_MS); /* the wake-up is left to client_turn(): it may be the reader's */
	}
	client->has_more = true;
}

size_t client_in_flight(const struct client *client)
{
	return client->in_flight;
}

static void free_handle(rd_kafka_t *kafka, rd_kafka_queue_t *queue)
{
	if (queue) {
		rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
		rd_kafka_queue_destroy(queue);
	}
	if (kafka)
		rd_kafka_destroy_flags(kafka, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group */
}

void client_free(struct client *client)
{
	if (!client)
		return;
	free_handle(client->consumer, client->consumer_queue);
	free_handle(client->producer, client->producer_queue);
	close_fd(&client->wake_fd);
	free(client);
}
