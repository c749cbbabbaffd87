/* The loops that `tools/bench queue` measures Mayfly's pipeline against: the best that somebody would write who just wants each
 * record answered exactly once. A member of a group gathers records, GATHER_MAX of them or what comes in GATHER_MS, produces one
 * message for each, and commits these and the group's offsets in one transaction.
 *
 * bytes   looks into no record and decides nothing: every message has the same value, the bytes of a file.
 * decode  unpacks each task with msgpack-c and packs an answer that has its id, that it was read, and from where; filled up to the
 *         length of that file. What is no map with an id is answered as rejected.
 *
 * librdkafka fetches ahead while a transaction is committed, and sends while the next message is produced.
 *
 * usage: bench-loop bytes|decode BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT VALUE_FILE */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

#define GATHER_MAX 5000
#define GATHER_MS 10
#define VALUE_MAX_BYTES 65536
#define ZONE_BYTES 8192 /* a task fits into its first chunk, which is used again */
#define FILLER_HEAD_BYTES 10 /* of the key and the length of what fills an answer up */
#define CALL_MS 30000 /* of a call that waits for the brokers */

struct loop {
	rd_kafka_t *consumer, *producer;
	rd_kafka_queue_t *records;
	const char *target;
	char value[VALUE_MAX_BYTES];
	size_t value_len;
	rd_kafka_message_t *messages[GATHER_MAX];
	/* To decode: */
	bool is_decoding;
	msgpack_zone zone;
	msgpack_sbuffer packed;
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench-loop: %s: %s\n", what, why);
	exit(1);
}

static void check(const char *what, rd_kafka_error_t *error)
{
	if (error)
		die(what, rd_kafka_error_string(error));
}

static rd_kafka_t *make(rd_kafka_type_t type, const char *const (*pairs)[2], size_t n)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];
	rd_kafka_t *kafka;

	for (size_t i = 0; i < n; i++)
		if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], why, sizeof(why)) != RD_KAFKA_CONF_OK)
			die(pairs[i][0], why);
	kafka = rd_kafka_new(type, conf, why, sizeof(why));
	if (!kafka)
		die("make a client", why);
	return kafka;
}

static void read_value(struct loop *loop, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		die(path, strerror(errno));
	loop->value_len = fread(loop->value, 1, sizeof(loop->value), file);
	if (!loop->value_len || !feof(file))
		die(path, "is empty, or too large");
	(void)fclose(file);
}

/* Answers how many of `messages` are records: what else comes is told. */
static size_t gather(struct loop *loop)
{
	ssize_t n = rd_kafka_consume_batch_queue(loop->records, GATHER_MS, loop->messages, GATHER_MAX);
	size_t kept = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (!loop->messages[i]->err) {
			loop->messages[kept++] = loop->messages[i];
			continue;
		}
		(void)fprintf(stderr, "bench-loop: %s\n", rd_kafka_message_errstr(loop->messages[i]));
		rd_kafka_message_destroy(loop->messages[i]);
	}
	return kept;
}

/* `flags`: whether librdkafka copies the value. */
static void produce(struct loop *loop, const rd_kafka_message_t *message, const char *value, size_t len, int flags)
{
	while (rd_kafka_producev(loop->producer, RD_KAFKA_V_TOPIC(loop->target), RD_KAFKA_V_KEY(message->key, message->key_len),
				 RD_KAFKA_V_VALUE((void *)(uintptr_t)value, len), RD_KAFKA_V_MSGFLAGS(flags), RD_KAFKA_V_END))
		(void)rd_kafka_poll(loop->producer, 1);
}

static bool is_text(const msgpack_object *object, const char *text)
{
	return object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(text) &&
	       memcmp(object->via.str.ptr, text, object->via.str.size) == 0;
}

/* NULL: it has none. */
static const msgpack_object_str *find_id(const msgpack_object *task)
{
	for (uint32_t i = 0; task->type == MSGPACK_OBJECT_MAP && i < task->via.map.size; i++)
		if (is_text(&task->via.map.ptr[i].key, "id") && task->via.map.ptr[i].val.type == MSGPACK_OBJECT_STR)
			return &task->via.map.ptr[i].val.via.str;
	return NULL;
}

static void pack_text(msgpack_packer *packer, const char *text)
{
	(void)msgpack_pack_str_with_body(packer, text, strlen(text)); /* fails for want of memory, which a benchmark has */
}

static void pack_answer(struct loop *loop, const rd_kafka_message_t *message, const msgpack_object_str *id)
{
	msgpack_packer packer;
	size_t used;

	msgpack_sbuffer_clear(&loop->packed);
	msgpack_packer_init(&packer, &loop->packed, msgpack_sbuffer_write);
	(void)msgpack_pack_map(&packer, 6); /* as above, and so for the rest */
	pack_text(&packer, "id");
	(void)msgpack_pack_str_with_body(&packer, id ? id->ptr : "", id ? id->size : 0);
	pack_text(&packer, "outcome");
	pack_text(&packer, id ? "succeeded" : "rejected");
	pack_text(&packer, "topic");
	pack_text(&packer, rd_kafka_topic_name(message->rkt));
	pack_text(&packer, "partition");
	(void)msgpack_pack_int32(&packer, message->partition);
	pack_text(&packer, "offset");
	(void)msgpack_pack_int64(&packer, message->offset);
	used = loop->packed.size + FILLER_HEAD_BYTES;
	pack_text(&packer, "filler");
	(void)msgpack_pack_bin_with_body(&packer, loop->value, loop->value_len > used ? loop->value_len - used : 0);
}

static void answer(struct loop *loop, const rd_kafka_message_t *message)
{
	msgpack_object task = { .type = MSGPACK_OBJECT_NIL };
	size_t used = 0;

	if (!loop->is_decoding) {
		produce(loop, message, loop->value, loop->value_len, 0); /* it outlives the transaction */
		return;
	}
	if (msgpack_unpack(message->payload, message->len, &used, &loop->zone, &task) != MSGPACK_UNPACK_SUCCESS)
		task.type = MSGPACK_OBJECT_NIL;
	pack_answer(loop, message, find_id(&task));
	msgpack_zone_clear(&loop->zone);
	produce(loop, message, loop->packed.data, loop->packed.size, RD_KAFKA_MSG_F_COPY);
}

static void commit(struct loop *loop)
{
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(loop->consumer);
	rd_kafka_topic_partition_list_t *offsets;

	if (rd_kafka_assignment(loop->consumer, &offsets) || rd_kafka_position(loop->consumer, offsets))
		die("position", "is not known");
	check("send offsets", rd_kafka_send_offsets_to_transaction(loop->producer, offsets, group, CALL_MS));
	check("commit", rd_kafka_commit_transaction(loop->producer, CALL_MS));
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_consumer_group_metadata_destroy(group);
}

static size_t turn(struct loop *loop)
{
	size_t n = gather(loop);

	if (!n)
		return 0;
	check("begin", rd_kafka_begin_transaction(loop->producer));
	for (size_t i = 0; i < n; i++)
		answer(loop, loop->messages[i]);
	commit(loop);
	for (size_t i = 0; i < n; i++)
		rd_kafka_message_destroy(loop->messages[i]);
	return n;
}

static void open_clients(struct loop *loop, const char *brokers, const char *source, const char *group)
{
	const char *const consumer_pairs[][2] = { { "bootstrap.servers", brokers }, { "group.id", group },
						  { "enable.auto.commit", "false" }, { "auto.offset.reset", "earliest" },
						  { "isolation.level", "read_committed" } };
	const char *const producer_pairs[][2] = { { "bootstrap.servers", brokers }, { "transactional.id", group },
						  { "retry.backoff.ms", "5" } }; /* 100, the default, is the price of a commit */
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);

	loop->consumer = make(RD_KAFKA_CONSUMER, consumer_pairs, ARRAY_SIZE(consumer_pairs));
	loop->producer = make(RD_KAFKA_PRODUCER, producer_pairs, ARRAY_SIZE(producer_pairs));
	check("init", rd_kafka_init_transactions(loop->producer, CALL_MS));
	rd_kafka_poll_set_consumer(loop->consumer);
	rd_kafka_topic_partition_list_add(topics, source, RD_KAFKA_PARTITION_UA);
	if (rd_kafka_subscribe(loop->consumer, topics))
		die("subscribe", source);
	rd_kafka_topic_partition_list_destroy(topics);
	loop->records = rd_kafka_queue_get_consumer(loop->consumer);
}

int main(int argc, char **argv)
{
	static struct loop loop;
	size_t count, done = 0;

	if (argc != 8 || (strcmp(argv[1], "bytes") != 0 && strcmp(argv[1], "decode") != 0))
		die("usage", "bench-loop bytes|decode BROKERS SOURCE_TOPIC TARGET_TOPIC GROUP_ID COUNT VALUE_FILE");
	loop.is_decoding = strcmp(argv[1], "decode") == 0;
	loop.target = argv[4];
	count = strtoul(argv[6], NULL, 10);
	read_value(&loop, argv[7]);
	if (!msgpack_zone_init(&loop.zone, ZONE_BYTES))
		die("zone", "out of memory");
	msgpack_sbuffer_init(&loop.packed);
	open_clients(&loop, argv[2], argv[3], argv[5]);
	while (done < count)
		done += turn(&loop);
	msgpack_sbuffer_destroy(&loop.packed);
	msgpack_zone_destroy(&loop.zone);
	rd_kafka_queue_destroy(loop.records);
	(void)rd_kafka_consumer_close(loop.consumer);
	rd_kafka_destroy(loop.consumer);
	rd_kafka_destroy(loop.producer);
	return 0;
}
