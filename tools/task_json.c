#include "tools/task_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "tools/base64.h"
#include "wire/pack.h"
#include "wire/task.h"

#define DEPTH_MAX \
	(TASK_MAX_DEPTH + 2) /* a little deeper than the worker takes, so that it is the worker that says so */

static void decrefp(json_t **json)
{
	json_decref(*json);
}

static int pack_json(struct pack *pack, json_t *json, unsigned depth, struct err *err);

/* `name` is the field for the message. What is no text goes as it is, for the decoder to refuse. */
static int pack_base64(struct pack *pack, json_t *json, const char *name, struct err *err)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	int r;

	if (!json_is_string(json))
		return pack_json(pack, json, DEPTH_MAX - 1, err);
	r = base64_decode(json_string_value(json), json_string_length(json), &bytes);
	if (r < 0)
		return err_set(err, ERR_INPUT, 0, "%s: is not base64 (bytes are base64 in JSON)", name);
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
		(void)msgpack_pack_int64(&pack->packer, json_integer_value(json)); /* a failure sticks in the pack */
		return 0;
	case JSON_REAL:
		(void)msgpack_pack_double(&pack->packer, json_real_value(json)); /* the same */
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

int task_json_read(const char *text, size_t len, struct buf *out, char id[IDENT_ID_MAX + 1], struct err *err)
{
	json_error_t error;
	cleanup_(decrefp) json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	struct pack pack;
	int r;

	if (!json)
		return err_set(err, ERR_INPUT, 0, "is not JSON: %.120s at column %d", error.text, error.column);
	if (!json_is_object(json))
		return err_set(err, ERR_INPUT, 0, "must be a JSON object, as in schemas/task.md");
	r = fill_all(json, err);
	if (r < 0)
		return r;
	pack_init(&pack, out);
	r = pack_task(&pack, json, err);
	if (r == 0 && pack_finish(&pack) < 0)
		r = err_set(err, ERR_HOST, ENOMEM, "encode the task");
	if (r == 0)
		r = task_bytes_check(out, err);
	if (r == 0) /* checked just now: a text of at most IDENT_ID_MAX */
		(void)snprintf(id, IDENT_ID_MAX + 1, "%s", json_string_value(json_object_get(json, "id")));
	return r;
}

int task_bytes_check(const struct buf *bytes, struct err *err)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct task_flaw flaw;

	switch (task_decode(bytes->data, bytes->len, &task, &flaw)) {
	case TASK_VERDICT_OK:
		return 0;
	case TASK_VERDICT_FLAWED:
		return err_set(err, ERR_INPUT, 0, "%s%s%s", flaw.field, flaw.field[0] ? ": " : "", flaw.message);
	case TASK_VERDICT_NO_MEMORY:
	case TASK_VERDICT_COUNT:
		break;
	}
	return err_set(err, ERR_HOST, ENOMEM, "check the task");
}
