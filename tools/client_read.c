/* The half of a client that reads, outside any group: from here on, from chosen places, or a range once
 * (tools/client_parts.h). */
#include <string.h>

#include "base/clock.h"
#include "bus/access.h"
#include "bus/kafka_conf.h"
#include "tools/client_parts.h"

#define READ_AHEAD_KIB "8192" /* beyond what is wanted, at most: a reader of a few records wants no more */
#define SILENT_MS      20000  /* of a broker that has records for us: then something is wrong */

static void list_freep(rd_kafka_topic_partition_list_t **list)
{
	rd_kafka_topic_partition_list_destroy(*list);
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
	client_wake_by(client, client->consumer_queue);
	return 0;
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
	uint64_t deadline = clock_mono_ms() + client_time_left(client, CLIENT_APPEAR_MS);
	rd_kafka_resp_err_t code;
	int64_t low;

	*ret = RD_KAFKA_OFFSET_BEGINNING;
	if (from == CLIENT_FROM_BEGINNING)
		return 0;
	while (lacks_leader(code = rd_kafka_query_watermark_offsets(client->consumer, topic, partition, &low, ret,
							    (int)client_time_left(client, CLIENT_ANSWER_MS))) &&
	       clock_mono_ms() < deadline)
		(void)usleep(CLIENT_RETRY_MS * 1000);
	if (access_is_refusal(code))
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us read topic '%s': %s", topic, rd_kafka_err2str(code));
	return code ? client_no_answer(client, rd_kafka_err2str(code), err) : 0;
}

static int add_topic(struct client *client, const char *topic, enum client_from from,
		     rd_kafka_topic_partition_list_t *list, struct err *err)
{
	int n = client_await_partitions(client, client->consumer, topic, err);
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

static int assign(struct client *client, const rd_kafka_topic_partition_list_t *list, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_assign(client->consumer, list);

	return code ? err_set(err, ERR_HOST, 0, "read from Kafka: %s", rd_kafka_err2str(code)) : 0;
}

int client_follow(struct client *client, const enum client_topic *topics, size_t n, enum client_from from,
		  struct err *err)
{
	cleanup_(list_freep) rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
	int r = make_consumer(client, err);

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_topic(client, client_topic_name(client, topics[i]), from, list, err);
	if (r == 0)
		r = assign(client, list, err);
	return r;
}

int client_follow_ranges(struct client *client, const struct client_range *ranges, size_t n, struct err *err)
{
	cleanup_(list_freep) rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
	int r = make_consumer(client, err);

	for (size_t i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, client_topic_name(client, ranges[i].topic), ranges[i].partition)->offset =
			ranges[i].from;
	if (r == 0)
		r = assign(client, list, err);
	return r;
}

int client_partitions(struct client *client, enum client_topic topic, int *ret_n, struct err *err)
{
	int r = make_consumer(client, err);

	if (r == 0)
		r = client_await_partitions(client, client->consumer, client_topic_name(client, topic), err);
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
	if (client_is_late(client)) /* librdkafka may ask for longer than it was told to */
		return client_no_answer(client, rd_kafka_err2str(RD_KAFKA_RESP_ERR__TIMED_OUT), err);
	code = rd_kafka_query_watermark_offsets(client->consumer, client_topic_name(client, topic), partition, &ret->from, &ret->to,
						(int)client_time_left(client, CLIENT_ANSWER_MS));
	return code ? client_no_answer(client, rd_kafka_err2str(code), err) : 0;
}

int client_offset_at(struct client *client, const struct client_range *range, int64_t time_ms, int64_t *ret,
		     struct err *err)
{
	cleanup_(list_freep) rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, client_topic_name(client, range->topic), range->partition)->offset = time_ms;
	code = rd_kafka_offsets_for_times(client->consumer, list, (int)client_time_left(client, CLIENT_ANSWER_MS));
	code = code ? code : list->elems[0].err;
	*ret = list->elems[0].offset < 0 ? -1 : list->elems[0].offset;
	return code ? client_no_answer(client, rd_kafka_err2str(code), err) : 0;
}

/* The first of them; the command ends with it. */
void client_note_refusal(struct client *client, rd_kafka_resp_err_t code, const char *topic, const char *text)
{
	/* We join no group, but librdkafka asks for the coordinator of one all the same. That it may not is no refusal
	 * for us. */
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

bool client_record_has_key(const struct client_record *record, const char *id)
{
	return record->key_len == strlen(id) && memcmp(record->key, id, record->key_len) == 0;
}

/* False when it is no record: librdkafka mends what can be mended; a tombstone is none of ours. */
static bool read_record(const struct client *client, const rd_kafka_message_t *message, struct client_record *ret)
{
	if (message->err || !message->payload || !message->rkt)
		return false;
	*ret = (struct client_record){ .topic = client_topic_of(client, rd_kafka_topic_name(message->rkt)),
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
	*ret = (struct client_record){ .topic = client_topic_of(client, at->topic), .partition = at->partition, .offset = at->offset };
	rd_kafka_topic_partition_destroy(at);
	return ret->topic < CLIENT_TOPIC_COUNT;
}

void client_take_records(struct client *client, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	struct client_record record;

	while ((message = rd_kafka_event_message_next(event))) {
		if (message->err)
			client_note_refusal(client, message->err, message->rkt ? rd_kafka_topic_name(message->rkt) : "", NULL);
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

/* The last offsets of a range may hold no record, because transactions leave marks there. So the range ends with a
 * record beyond it, or with the end of the partition. */
static void take_of_range(struct client *client, struct reading *reading, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	struct client_record record;

	if (read_end(client, event, &record) && is_of_range(reading->range, &record))
		reading->is_over = true;
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		client_note_refusal(client, rd_kafka_event_error(event), NULL, rd_kafka_event_error_string(event));
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
		rd_kafka_event_t *event = rd_kafka_queue_poll(client->consumer_queue, (int)client_time_left(client, CLIENT_RETRY_MS));

		take_of_range(client, &reading, event);
		rd_kafka_event_destroy(event);
		if (client_refusal(client))
			return err_set(err, ERR_INPUT, 0, "%s", client_refusal(client));
		if (!reading.is_over && (client_is_late(client) || clock_mono_ms() - reading.heard_mono_ms > SILENT_MS))
			r = client_no_answer(client, rd_kafka_err2str(RD_KAFKA_RESP_ERR__TIMED_OUT), err);
	}
	return r;
}
