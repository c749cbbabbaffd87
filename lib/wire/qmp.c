#include "wire/qmp.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int decode_error(const json_t *error, struct qmp_message *ret)
{
	const char *class = json_string_value(json_object_get(error, "class"));
	const char *desc = json_string_value(json_object_get(error, "desc"));

	if (!class || !desc)
		return -EBADMSG;
	ret->kind = QMP_KIND_ERROR;
	(void)snprintf(ret->text, sizeof(ret->text), "%s: %s", class, desc);
	return 0;
}

static int decode_id(const json_t *root, struct qmp_message *ret)
{
	const json_t *id = json_object_get(root, "id");

	if (!id)
		return 0;
	if (!json_is_integer(id) || json_integer_value(id) < 0)
		return -EBADMSG;
	ret->id = (uint64_t)json_integer_value(id);
	return 0;
}

static int decode_object(const json_t *root, struct qmp_message *ret)
{
	const json_t *event = json_object_get(root, "event");
	const json_t *error = json_object_get(root, "error");

	if (decode_id(root, ret) < 0)
		return -EBADMSG;
	if (error)
		return decode_error(error, ret);
	if (event) {
		if (!json_is_string(event))
			return -EBADMSG;
		ret->kind = QMP_KIND_EVENT;
		(void)snprintf(ret->text, sizeof(ret->text), "%s", json_string_value(event));
		return 0;
	}
	if (json_object_get(root, "return")) {
		ret->kind = QMP_KIND_RETURN;
		return 0;
	}
	if (json_object_get(root, "QMP")) {
		ret->kind = QMP_KIND_GREETING;
		return 0;
	}
	return -EBADMSG;
}

int qmp_decode(const char *line, size_t len, struct qmp_message *ret)
{
	json_t *root;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (len > QMP_MAX_LINE_BYTES)
		return -EBADMSG;
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return -EBADMSG;
	r = json_is_object(root) ? decode_object(root, ret) : -EBADMSG;
	json_decref(root);
	return r;
}

int qmp_encode(struct buf *out, const char *command, const char *arguments, uint64_t id)
{
	char head[128], tail[64];
	int n = snprintf(head, sizeof(head), "{\"execute\":\"%s\"%s", command, arguments ? ",\"arguments\":" : "");
	int m = snprintf(tail, sizeof(tail), ",\"id\":%" PRIu64 "}\n", id);
	size_t start = out->len;

	if (buf_append(out, head, (size_t)n) < 0 || (arguments && buf_append(out, arguments, strlen(arguments)) < 0) ||
	    buf_append(out, tail, (size_t)m) < 0) {
		out->len = start;
		return -ENOMEM;
	}
	return 0;
}
