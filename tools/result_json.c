#include "tools/result_json.h"

#include <jansson.h>
#include <string.h>

#include "base/hex.h"
#include "base/own.h"
#include "base/utf8.h"
#include "tools/base64.h"

static void put(json_t *object, const char *stream, const char *suffix, json_t *value)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%s%s", stream, suffix);
	(void)json_object_set_new(object, key, value); /* NULL: left out; the line says what could be said */
}

static json_t *hex_json(const uint8_t sha256[32])
{
	char hex[HEX_CHARS(32)];

	hex_write(sha256, 32, hex);
	return json_stringn(hex, sizeof(hex));
}

/* Bytes that are printed under one key. */
struct piece {
	const uint8_t *data;
	size_t len;
};

/* Without the rest of a character that a cut went through. */
static struct piece trim(struct piece piece, bool is_cut_at_start, bool is_cut_at_end)
{
	size_t start = is_cut_at_start ? utf8_cut_at_start(piece.data, piece.len) : 0;

	piece.data += start;
	piece.len -= start;
	piece.len -= is_cut_at_end ? utf8_cut_at_end(piece.data, piece.len) : 0;
	return piece;
}

static bool is_text(struct piece piece)
{
	return utf8_is_valid((const char *)piece.data, piece.len);
}

static json_t *text_json(struct piece piece)
{
	return json_stringn((const char *)piece.data, piece.len);
}

static json_t *base64_json(const uint8_t *data, size_t len)
{
	cleanup_(buf_free) struct buf text = { 0 };

	if (base64_encode(data, len, &text) < 0)
		return NULL;
	return json_stringn(text.len ? (const char *)text.data : "", text.len);
}

/* Head and tail as text where both are UTF-8, else both as base64. */
static void put_pieces(json_t *object, const char *name, const struct result_stream *stream, struct piece first,
		       struct piece last)
{
	bool is_limited = stream->bytes > stream->bytes_kept; /* what follows the last byte was dropped */
	bool has_gap = first.len + last.len < stream->bytes_kept;
	struct piece first_text = trim(first, false, has_gap || (is_limited && !last.len));
	struct piece last_text = trim(last, has_gap, is_limited);
	bool is_utf8 = is_text(first_text) && is_text(last_text);

	put(object, name, "", is_utf8 ? text_json(first_text) : base64_json(first.data, first.len));
	put(object, name, "_encoding", json_string(is_utf8 ? "utf-8" : "base64"));
	put(object, name, "_truncated", json_boolean(has_gap || is_limited));
	if (has_gap || is_limited)
		put(object, name, "_tail", is_utf8 ? text_json(last_text) : base64_json(last.data, last.len));
}

static struct piece piece_of(const struct buf *buf)
{
	return (struct piece){ .data = buf->len ? buf->data : (const uint8_t *)"", .len = buf->len };
}

static void put_stream(json_t *object, const char *name, const struct result_stream *stream)
{
	bool has_gap = stream->head.len + stream->tail.len < stream->bytes_kept;
	struct piece head = piece_of(&stream->head), tail = piece_of(&stream->tail);
	cleanup_(buf_free) struct buf all = { 0 };

	if (!has_gap && tail.len && buf_append(&all, head.data, head.len) == 0 && buf_append(&all, tail.data, tail.len) == 0) {
		head = piece_of(&all);
		tail.len = 0;
	}
	put_pieces(object, name, stream, head, tail);
	put(object, name, "_bytes", json_integer((json_int_t)stream->bytes));
	put(object, name, "_kept", json_integer((json_int_t)stream->bytes_kept));
	put(object, name, "_sha256", hex_json(stream->sha256));
}

static json_t *data_json(const struct result_file *file)
{
	bool is_inline = file->data || (!file->size && !file->error[0]);

	return is_inline ? base64_json(file->data, file->len) : json_null();
}

static json_t *files_json(const struct result *result)
{
	json_t *files = json_array();

	for (size_t i = 0; i < result->n_files; i++) {
		const struct result_file *file = &result->files[i];
		json_t *object = json_object();

		put(object, "path", "", json_string(file->path));
		put(object, "data", "", data_json(file));
		put(object, "size", "", json_integer((json_int_t)file->size));
		put(object, "mode", "", json_integer(file->mode));
		if (!file->error[0])
			put(object, "sha256", "", hex_json(file->sha256));
		put(object, "error", "", json_string(file->error));
		(void)json_array_append_new(files, object); /* NULL: left out */
	}
	return files;
}

static json_t *timings_json(const struct result *result)
{
	json_t *timings = json_object();

	for (int i = 0; i < RESULT_TIMING_COUNT; i++)
		if (result->timings_ms[i] >= 0)
			put(timings, result_timing_name((enum result_timing)i), "", json_integer(result->timings_ms[i]));
	return timings;
}

static json_t *labels_json(const struct result *result)
{
	json_t *labels = json_object();

	for (size_t i = 0; i < result->n_labels; i++)
		(void)json_object_set_new(labels, result->labels[i].key, json_string(result->labels[i].value));
	return labels;
}

static void put_finish(json_t *object, const struct result *result)
{
	put(object, "outcome", "", json_string(result_outcome_name(result->outcome)));
	put(object, "ran", "", json_string(result_ran_name(result->ran)));
	put(object, "exit_code", "", result->has_exit_code ? json_integer(result->exit_code) : json_null());
	put(object, "signal", "", result->has_signal ? json_integer(result->signal) : json_null());
	put(object, "message", "", json_string(result->message));
	put(object, "field", "", json_string(result->field));
	put_stream(object, "stdout", &result->out);
	put_stream(object, "stderr", &result->err_out);
	put(object, "files", "", files_json(result));
	put(object, "timings_ms", "", timings_json(result));
	put(object, "usage", "",
	    json_pack("{sI sI}", "cpu_ms", (json_int_t)result->cpu_ms, "max_rss_kib", (json_int_t)result->max_rss_kib));
	put(object, "isolation", "",
	    json_pack("{ss ss ss ss ss}", "vmm", result->vmm, "accel", result->accel, "disk", result->disk, "net", result->net,
		      "start", result->start));
	put(object, "key_destroyed", "", json_boolean(result->is_key_destroyed));
}

int result_json_print(const struct result *result, FILE *to, struct err *err)
{
	json_auto_t *object = json_object();
	cleanup_free char *line = NULL;

	put(object, "v", "", json_integer(RESULT_SCHEMA_VERSION));
	put(object, "id", "", json_string(result->id));
	put(object, "kind", "", json_string(task_kind_name(result->kind)));
	put(object, "event", "", json_string(result_event_name(result->event)));
	if (result_is_answer(result))
		put_finish(object, result);
	put(object, "host", "", json_string(result->host));
	put(object, "worker", "", json_string(result->worker));
	put(object, "attempt", "", json_integer(result->attempt));
	put(object, "token", "", json_integer((json_int_t)result->token));
	put(object, "labels", "", labels_json(result));
	put(object, "finished_ms", "", json_integer((json_int_t)result->finished_ms));
	if (result->event == RESULT_EVENT_DUPLICATE)
		put(object, "same_as", "",
		    json_pack("{ss si sI}", "topic", result->same_as.topic, "partition", (int)result->same_as.partition, "offset",
			      (json_int_t)result->same_as.offset));
	put(object, "source", "",
	    json_pack("{ss si sI}", "topic", result->topic, "partition", (int)result->partition, "offset",
		      (json_int_t)result->offset));
	line = json_dumps(object, JSON_COMPACT);
	if (!line)
		return err_set(err, ERR_HOST, ENOMEM, "print the result of task %s", result->id);
	(void)fprintf(to, "%s\n", line); /* the caller looks at ferror() */
	return 0;
}
