#include "wire/result.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "wire/pack.h"
#include "wire/unpack.h"

#define TYPICAL_BYTES 1024 /* of a result with little output */

static const char *const event_names[] = { "started", "finished", "refused", "duplicate" };
static_assert(ARRAY_SIZE(event_names) == RESULT_EVENT_COUNT, "a name for every result_event");

static const char *const outcome_names[] = { "succeeded", "failed",   "timed_out", "cancelled",
					     "expired",	  "rejected", "lost" };
static_assert(ARRAY_SIZE(outcome_names) == RESULT_OUTCOME_COUNT, "a name for every result_outcome");

static const char *const ran_names[] = { "not_started", "ran", "unknown" };
static_assert(ARRAY_SIZE(ran_names) == RESULT_RAN_COUNT, "a name for every result_ran");

static const char *const timing_names[] = { "queued", "lease", "disk", "vmm",	 "boot",  "key",
					   "setup",  "launch", "start", "run",  "collect", "erase", "total" };
static_assert(ARRAY_SIZE(timing_names) == RESULT_TIMING_COUNT, "a name for every result_timing");

const char *result_event_name(enum result_event event)
{
	return (unsigned)event < RESULT_EVENT_COUNT ? event_names[event] : "unknown";
}

const char *result_outcome_name(enum result_outcome outcome)
{
	return (unsigned)outcome < RESULT_OUTCOME_COUNT ? outcome_names[outcome] : "unknown";
}

const char *result_ran_name(enum result_ran ran)
{
	return (unsigned)ran < RESULT_RAN_COUNT ? ran_names[ran] : "unknown";
}

const char *result_timing_name(enum result_timing timing)
{
	return (unsigned)timing < RESULT_TIMING_COUNT ? timing_names[timing] : "unknown";
}

/* SHA-256 of no bytes at all (FIPS 180-4): of a stream to which nothing was written. */
static const uint8_t sha256_of_nothing[32] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
					       0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
					       0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };

void result_init(struct result *result)
{
	*result = (struct result){ .event = RESULT_EVENT_STARTED };
	memcpy(result->out.sha256, sha256_of_nothing, sizeof(sha256_of_nothing));
	memcpy(result->err_out.sha256, sha256_of_nothing, sizeof(sha256_of_nothing));
	for (int i = 0; i < RESULT_TIMING_COUNT; i++)
		result->timings_ms[i] = -1;
}

void result_clear(struct result *result)
{
	buf_free(&result->out.head);
	buf_free(&result->out.tail);
	buf_free(&result->err_out.head);
	buf_free(&result->err_out.tail);
	for (size_t i = 0; i < result->n_files; i++) {
		free(result->files[i].path);
		free(result->files[i].data);
	}
	free(result->files);
	for (size_t i = 0; i < result->n_labels; i++) {
		free(result->labels[i].key);
		free(result->labels[i].value);
	}
	free(result->labels);
	result_init(result);
}

int result_stream_add(struct result_stream *stream, const uint8_t *data, size_t len)
{
	size_t room = RESULT_HEAD_BYTES - stream->head.len;
	size_t in_head = len < room ? len : room;
	size_t in_tail = len - in_head;
	int r;

	r = buf_reserve(&stream->tail, in_tail < RESULT_TAIL_BYTES ? in_tail : RESULT_TAIL_BYTES);
	if (r == 0)
		r = buf_append(&stream->head, data, in_head);
	if (r < 0)
		return r;
	stream->bytes_kept += len;
	if (in_tail > RESULT_TAIL_BYTES) {
		buf_clear(&stream->tail);
		in_tail = RESULT_TAIL_BYTES;
	}
	if (stream->tail.len >= 2 * (size_t)RESULT_TAIL_BYTES) /* not at every byte: moving the tail costs */
		buf_consume(&stream->tail, stream->tail.len - RESULT_TAIL_BYTES);
	return buf_append(&stream->tail, data + (len - in_tail), in_tail);
}

static void put_sha256(struct pack *pack, struct pack_map *map, const uint8_t sha256[32])
{
	char hex[HEX_CHARS(32) + 1] = "";

	hex_write(sha256, 32, hex);
	pack_string_field(pack, map, "sha256", hex);
}

static void put_mended_field(struct pack *pack, struct pack_map *map, const char *key, const char *text)
{
	pack_key(pack, map, key);
	pack_mended(pack, text);
}

static void put_stream(struct pack *pack, struct pack_map *map, const char *key, const struct result_stream *stream)
{
	size_t skip = stream->tail.len > RESULT_TAIL_BYTES ? stream->tail.len - RESULT_TAIL_BYTES : 0;
	const uint8_t *tail = skip ? stream->tail.data + skip : stream->tail.data;
	struct pack_map inner;

	pack_key(pack, map, key);
	inner = pack_map_begin(pack);
	pack_bytes_field(pack, &inner, "head", stream->head.data, stream->head.len);
	pack_bytes_field(pack, &inner, "tail", tail, stream->tail.len - skip);
	pack_uint_field(pack, &inner, "bytes", stream->bytes);
	pack_uint_field(pack, &inner, "kept", stream->bytes_kept);
	put_sha256(pack, &inner, stream->sha256);
	pack_map_end(pack, &inner);
}

static void put_file(struct pack *pack, const struct result_file *file)
{
	struct pack_map map = pack_map_begin(pack);
	bool is_inline = file->data || (!file->size && !file->error[0]);

	pack_string_field(pack, &map, "path", file->path);
	pack_key(pack, &map, "data");
	if (is_inline)
		pack_bytes(pack, file->data, file->len);
	else
		pack_nil(pack);
	pack_uint_field(pack, &map, "size", file->size);
	pack_uint_field(pack, &map, "mode", file->mode);
	if (is_inline)
		put_sha256(pack, &map, file->sha256);
	put_mended_field(pack, &map, "error", file->error);
	pack_map_end(pack, &map);
}

static void put_labels(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "labels");
	inner = pack_map_begin(pack);
	for (size_t i = 0; i < result->n_labels; i++)
		pack_string_field(pack, &inner, result->labels[i].key, result->labels[i].value);
	pack_map_end(pack, &inner);
}

static void put_timings(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "timings_ms");
	inner = pack_map_begin(pack);
	for (int i = 0; i < RESULT_TIMING_COUNT; i++)
		if (result->timings_ms[i] >= 0)
			pack_uint_field(pack, &inner, timing_names[i], (uint64_t)result->timings_ms[i]);
	pack_map_end(pack, &inner);
}

static void put_usage(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "usage");
	inner = pack_map_begin(pack);
	pack_uint_field(pack, &inner, "cpu_ms", result->cpu_ms);
	pack_uint_field(pack, &inner, "max_rss_kib", result->max_rss_kib);
	pack_map_end(pack, &inner);
}

static void put_isolation(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "isolation");
	inner = pack_map_begin(pack);
	put_mended_field(pack, &inner, "vmm", result->vmm);
	put_mended_field(pack, &inner, "accel", result->accel);
	put_mended_field(pack, &inner, "disk", result->disk);
	put_mended_field(pack, &inner, "net", result->net);
	put_mended_field(pack, &inner, "start", result->start);
	pack_map_end(pack, &inner);
}

static void put_source(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "source");
	inner = pack_map_begin(pack);
	put_mended_field(pack, &inner, "topic", result->topic);
	pack_uint_field(pack, &inner, "partition", result->partition > 0 ? (uint64_t)result->partition : 0);
	pack_uint_field(pack, &inner, "offset", result->offset > 0 ? (uint64_t)result->offset : 0);
	pack_map_end(pack, &inner);
}

static void put_number_or_nil(struct pack *pack, struct pack_map *map, const char *key, bool is_given, uint64_t number)
{
	pack_key(pack, map, key);
	if (is_given)
		pack_uint(pack, number);
	else
		pack_nil(pack);
}

static void put_finish(struct pack *pack, struct pack_map *map, const struct result *result)
{
	pack_string_field(pack, map, "outcome", result_outcome_name(result->outcome));
	pack_string_field(pack, map, "ran", result_ran_name(result->ran));
	put_number_or_nil(pack, map, "exit_code", result->has_exit_code, result->exit_code);
	put_number_or_nil(pack, map, "signal", result->has_signal, result->signal);
	put_mended_field(pack, map, "message", result->message);
	put_mended_field(pack, map, "field", result->field);
	put_stream(pack, map, "stdout", &result->out);
	put_stream(pack, map, "stderr", &result->err_out);
	pack_key(pack, map, "files");
	pack_array(pack, result->n_files);
	for (size_t i = 0; i < result->n_files; i++)
		put_file(pack, &result->files[i]);
	put_timings(pack, map, result);
	put_usage(pack, map, result);
	put_isolation(pack, map, result);
	pack_bool_field(pack, map, "key_destroyed", result->is_key_destroyed);
}

static void put_same_as(struct pack *pack, struct pack_map *map, const struct result *result)
{
	struct pack_map inner;

	pack_key(pack, map, "same_as");
	inner = pack_map_begin(pack);
	pack_string_field(pack, &inner, "topic", result->same_as.topic);
	pack_uint_field(pack, &inner, "partition", (uint64_t)result->same_as.partition);
	pack_uint_field(pack, &inner, "offset", (uint64_t)result->same_as.offset);
	pack_map_end(pack, &inner);
}

bool result_is_answer(const struct result *result)
{
	return result->event == RESULT_EVENT_FINISHED || result->event == RESULT_EVENT_REFUSED;
}

int result_encode(const struct result *result, struct buf *out)
{
	struct pack pack;
	struct pack_map map;

	pack_init(&pack, out);
	pack.r = buf_reserve(out, TYPICAL_BYTES); /* at once instead of in steps */
	map = pack_map_begin(&pack);
	pack_uint_field(&pack, &map, "v", RESULT_SCHEMA_VERSION);
	pack_string_field(&pack, &map, "event", event_names[result->event]);
	pack_string_field(&pack, &map, "id", result->id);
	pack_string_field(&pack, &map, "kind", task_kind_name(result->kind));
	if (result_is_answer(result))
		put_finish(&pack, &map, result);
	put_mended_field(&pack, &map, "host", result->host);
	put_mended_field(&pack, &map, "worker", result->worker);
	pack_uint_field(&pack, &map, "attempt", result->attempt);
	pack_uint_field(&pack, &map, "token", result->token);
	put_labels(&pack, &map, result);
	pack_uint_field(&pack, &map, "finished_ms", result->finished_ms);
	put_source(&pack, &map, result);
	if (result->event == RESULT_EVENT_DUPLICATE)
		put_same_as(&pack, &map, result);
	pack_map_end(&pack, &map);
	return pack_finish(&pack);
}
