#include "tools/task_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "tools/base64.h"
#include "tools/wording.h"
#include "wire/pack.h"
#include "wire/task.h"

#define DEPTH_MAX \
	(TASK_MAX_DEPTH + 2) /* a little deeper than a worker takes, so that the worker's own words say what is too deep */

static int pack_json(struct pack *pack, json_t *json, unsigned depth, struct err *err);

/* `name` is the field for messages. A value that is no text is packed as it is: the decoder refuses it in its own
 * words. */
static int pack_base64(struct pack *pack, json_t *json, const char *name, struct err *err)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	int r;

	if (!json_is_string(json))
		return pack_json(pack, json, DEPTH_MAX - 1, err);
	r = base64_decode(json_string_value(json), json_string_length(json), &bytes);
	if (r < 0)
		return err_set(err, ERR_INPUT, 0, "%s: is not base64: bytes are A-Z a-z 0-9 + / in JSON, with = at the end",
			       name);
	pack_bytes(pack, bytes.data, bytes.len);
	return 0;
}

/* `base64_key` (may be NULL) is the key of bytes, `base64_name` what a message calls it. */
static int pack_object(struct pack *pack, json_t *json, const char *base64_key, const char *base64_name, unsigned depth,
		       struct err *err)
{
	struct pack_map map = pack_map_begin(pack);
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(json, key, value)
	{
		pack_key(pack, &map, key);
		r = base64_key && strcmp(key, base64_key) == 0 ? pack_base64(pack, value, base64_name, err)
							       : pack_json(pack, value, depth + 1, err);
		if (r < 0)
			return r;
	}
	pack_map_end(pack, &map);
	return 0;
}

static int pack_array_of(struct pack *pack, json_t *json, unsigned depth, struct err *err)
{
	size_t i;
	json_t *item;
	int r = 0;

	pack_array(pack, json_array_size(json));
	json_array_foreach(json, i, item)
	{
		r = pack_json(pack, item, depth + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pack_json(struct pack *pack, json_t *json, unsigned depth, struct err *err)
{
	if (depth >= DEPTH_MAX && (json_is_object(json) || json_is_array(json)))
		return err_set(err, ERR_INPUT, 0, "is nested too deep to be a task");
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return pack_object(pack, json, NULL, NULL, depth, err);
	case JSON_ARRAY:
		return pack_array_of(pack, json, depth, err);
	case JSON_STRING:
		pack_text(pack, json_string_value(json), json_string_length(json));
		return 0;
	case JSON_INTEGER:
		pack_int(pack, json_integer_value(json));
		return 0;
	case JSON_REAL:
		pack_double(pack, json_real_value(json));
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		pack_bool(pack, json_is_true(json));
		return 0;
	case JSON_NULL:
		pack_nil(pack);
		return 0;
	}
	return err_set(err, ERR_BUG, 0, "a JSON value of unknown type");
}

static int pack_files(struct pack *pack, json_t *json, struct err *err)
{
	char name[48];
	size_t i;
	json_t *item;
	int r = 0;

	if (!json_is_array(json))
		return pack_json(pack, json, 1, err);
	pack_array(pack, json_array_size(json));
	json_array_foreach(json, i, item)
	{
		(void)snprintf(name, sizeof(name), "files[%zu].data", i);
		r = json_is_object(item) ? pack_object(pack, item, "data", name, 2, err)
					 : pack_json(pack, item, 2, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pack_task(struct pack *pack, json_t *json, struct err *err)
{
	struct pack_map map = pack_map_begin(pack);
	const char *key;
	json_t *value;
	int r;

	json_object_foreach(json, key, value)
	{
		pack_key(pack, &map, key);
		if (strcmp(key, "stdin") == 0)
			r = pack_base64(pack, value, key, err);
		else if (strcmp(key, "files") == 0)
			r = pack_files(pack, value, err);
		else
			r = pack_json(pack, value, 1, err);
		if (r < 0)
			return r;
	}
	pack_map_end(pack, &map);
	return 0;
}

static int fill(json_t *json, const char *key, json_t *value, struct err *err)
{
	if (json_object_get(json, key)) {
		json_decref(value);
		return 0;
	}
	return json_object_set_new(json, key, value) < 0 ? err_set(err, ERR_HOST, ENOMEM, "fill in '%s'", key) : 0;
}

static int fill_all(json_t *json, struct err *err)
{
	char uuid[37];
	int r = fill(json, "v", json_integer(TASK_SCHEMA_VERSION), err);

	ident_uuid(uuid);
	if (r == 0)
		r = fill(json, "kind", json_string(task_kind_name(TASK_KIND_RUN)), err);
	if (r == 0)
		r = fill(json, "id", json_string(uuid), err);
	if (r == 0)
		r = fill(json, "created_ms", json_integer((json_int_t)clock_wall_ms()), err);
	return r;
}

/* A task over several lines, or a list of tasks: what the JSON parser says of its first line would not help. */
static int describe_no_json(const char *text, const json_error_t *error, struct err *err)
{
	enum json_error_code code = json_error_code(error);
	bool is_list = text[strspn(text, " \t\r")] == '[';

	if ((uint8_t)text[0] == 0xff || (uint8_t)text[0] == 0xfe)
		return err_set(err, ERR_INPUT, 0, "is not JSON in UTF-8; it looks like UTF-16");
	if (code == json_error_premature_end_of_input)
		return err_set(err, ERR_INPUT, 0,
			       "is not a whole JSON value: each task has one line of its own; `jq -c %s` writes them so",
			       is_list ? "'.[]'" : ".");
	if (code == json_error_end_of_input_expected)
		return err_set(err, ERR_INPUT, 0, "holds more than one JSON value (column %d): a task a line, nothing between",
			       error->column);
	return err_set(err, ERR_INPUT, 0, "is not JSON: %.120s at column %d", error->text, error->column);
}

static int describe_no_object(const json_t *json, struct err *err)
{
	if (json_is_array(json))
		return err_set(err, ERR_INPUT, 0,
			       "is a JSON array, and must be a JSON object: one task a line; `jq -c '.[]'` writes them so");
	return err_set(err, ERR_INPUT, 0, "must be a JSON object, as in schemas/task.md");
}

/* Most clocks give seconds, and those have 10 digits until the year 2286. */
static void note_seconds(json_t *json, char hint[TASK_JSON_HINT_BYTES])
{
	json_int_t created_ms = json_integer_value(json_object_get(json, "created_ms"));

	hint[0] = '\0';
	if (created_ms > 0 && created_ms < (json_int_t)TASK_SECONDS_BELOW)
		(void)snprintf(hint, TASK_JSON_HINT_BYTES,
			       "created_ms: %" JSON_INTEGER_FORMAT
			       " is a time in 1970: is it in seconds? It is meant in milliseconds",
			       created_ms);
}

/* Checked as a worker would. */
static int check(const struct buf *bytes, struct err *err)
{
	struct task_flaw flaw;
	char words[WORDING_BYTES];
	int r = task_bytes_check(bytes, &flaw, err);

	if (r >= 0 || err->kind != ERR_INPUT)
		return r;
	wording_of_json(&flaw, words);
	return err_set(err, ERR_INPUT, 0, "%s", words);
}

int task_json_read(const char *text, size_t len, struct buf *out, char id[IDENT_ID_MAX + 1],
		   char hint[TASK_JSON_HINT_BYTES], struct err *err)
{
	json_error_t error;
	json_auto_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	struct pack pack;
	int r;

	if (!json)
		return describe_no_json(text, &error, err);
	if (!json_is_object(json))
		return describe_no_object(json, err);
	note_seconds(json, hint);
	r = fill_all(json, err);
	if (r < 0)
		return r;
	pack_init(&pack, out);
	r = pack_task(&pack, json, err);
	if (r == 0 && pack_finish(&pack) < 0)
		r = err_set(err, ERR_HOST, ENOMEM, "encode the task");
	if (r == 0)
		r = check(out, err);
	if (r == 0) /* checked just now: a text of at most IDENT_ID_MAX */
		(void)snprintf(id, IDENT_ID_MAX + 1, "%s", json_string_value(json_object_get(json, "id")));
	return r;
}

int task_bytes_check(const struct buf *bytes, struct task_flaw *flaw, struct err *err)
{
	cleanup_(task_freep) struct task *task = NULL;

	switch (task_decode(bytes->data, bytes->len, &task, flaw)) {
	case TASK_VERDICT_OK:
		return 0;
	case TASK_VERDICT_FLAWED:
		return err_set(err, ERR_INPUT, 0, "%s%s%s", flaw->field, flaw->field[0] ? ": " : "", flaw->message);
	case TASK_VERDICT_NO_MEMORY:
	case TASK_VERDICT_COUNT:
		break;
	}
	return err_set(err, ERR_HOST, ENOMEM, "check the task");
}
