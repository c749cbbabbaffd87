#include "tools/result_json.h"

#include <jansson.h>
#include <string.h>

#include "base/own.h"
#include "base/utf8.h"
#include "tools/base64.h"

static void decrefp(json_t **json)
{
	json_decref(*json);
}

static size_t sequence_len(uint8_t lead)
{
	return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* As text; what is not well-formed UTF-8 becomes U+FFFD, one for each byte. */
static json_t *text_json(const uint8_t *data, size_t len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	cleanup_(buf_free) struct buf out = { 0 };

	if (utf8_is_valid((const char *)data, len))
		return json_stringn(len ? (const char *)data : "", len);
	for (size_t i = 0; i < len;) {
		size_t n = sequence_len(data[i]);
		bool is_good = n <= len - i && (n == 1 || utf8_is_valid((const char *)data + i, n));
		int r = is_good ? buf_append(&out, data + i, n) : buf_append(&out, replacement, 3);

		if (r < 0)
			return NULL;
		i += is_good ? n : 1;
	}
	return json_stringn((const char *)out.data, out.len);
}

static void put(json_t *object, const char *stream, const char *suffix, json_t *value)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%s%s", stream, suffix);
	(void)json_object_set_new(object, key, value); /* NULL: left out; the line says what could be said */
}

static json_t *hex_json(const uint8_t sha256[32])
{
	char hex[65];

	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
	return json_string(hex);
}

static void put_stream(json_t *object, const char *name, const struct result_stream *stream)
{
	bool is_whole = stream->head.len + stream->tail.len == stream->bytes;
	cleanup_(buf_free) struct buf all = { 0 };

	if (is_whole && buf_append(&all, stream->head.data, stream->head.len) == 0 &&
	    buf_append(&all, stream->tail.data, stream->tail.len) == 0)
		put(object, name, "", text_json(all.data, all.len));
	else
		put(object, name, "", text_json(stream->head.data, stream->head.len));
	put(object, name, "_truncated", json_boolean(!is_whole));
	if (!is_whole)
		put(object, name, "_tail", text_json(stream->tail.data, stream->tail.len));
	put(object, name, "_bytes", json_integer((json_int_t)stream->bytes));
	put(object, name, "_kept", json_integer((json_int_t)stream->bytes_kept));
	put(object, name, "_sha256", hex_json(stream->sha256));
}

static json_t *data_json(const struct result_file *file)
{
	cleanup_(buf_free) struct buf text = { 0 };
	bool is_inline = file->data || (!file->size && !file->error[0]);

	if (!is_inline)
		return json_null();
	if (base64_encode(file->data, file->len, &text) < 0)
		return NULL;
	return json_stringn(text.len ? (const char *)text.data : "", text.len);
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

	for (int i = 0; i < RESULT_STAGE_COUNT; i++)
		if (result->timings_ms[i] >= 0)
			put(timings, result_stage_name((enum result_stage)i), "", json_integer(result->timings_ms[i]));
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
	    json_pack("{ss ss ss ss}", "vmm", result->vmm, "accel", result->accel, "disk", result->disk, "net",
		      result->net));
	put(object, "key_destroyed", "", json_boolean(result->is_key_destroyed));
}

int result_json_print(const struct result *result, FILE *to, struct err *err)
{
	cleanup_(decrefp) json_t *object = json_object();
	cleanup_free char *line = NULL;

	put(object, "id", "", json_string(result->id));
	put(object, "event", "", json_string(result->event == RESULT_EVENT_FINISHED ? "finished" : "started"));
	if (result->event == RESULT_EVENT_FINISHED)
		put_finish(object, result);
	put(object, "host", "", json_string(result->host));
	put(object, "worker", "", json_string(result->worker));
	put(object, "attempt", "", json_integer(result->attempt));
	put(object, "token", "", json_integer((json_int_t)result->token));
	put(object, "labels", "", labels_json(result));
	put(object, "finished_ms", "", json_integer((json_int_t)result->finished_ms));
	put(object, "source", "",
	    json_pack("{ss si sI}", "topic", result->topic, "partition", (int)result->partition, "offset",
		      (json_int_t)result->offset));
	line = json_dumps(object, JSON_COMPACT);
	if (!line)
		return err_set(err, ERR_HOST, ENOMEM, "print the result of task %s", result->id);
	(void)fprintf(to, "%s\n", line); /* the caller looks at ferror() */
	return 0;
}
