#include "wire/qmp.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"

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
	const char *status = json_string_value(json_object_get(json_object_get(root, "data"), "status"));
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
		(void)snprintf(ret->status, sizeof(ret->status), "%s", status ? status : "");
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

static int append_line(struct buf *out, const json_t *command)
{
	cleanup_free char *text = json_dumps(command, JSON_COMPACT);
	size_t start = out->len;

	if (!text)
		return -ENOMEM;
	if (buf_append(out, text, strlen(text)) == 0 && buf_append(out, "\n", 1) == 0)
		return 0;
	out->len = start;
	return -ENOMEM;
}

int qmp_encode(struct buf *out, const char *command, uint64_t id, const char *format, ...)
{
	json_t *arguments = NULL, *line;
	va_list ap;
	int r;

	va_start(ap, format);
	if (format)
		arguments = json_vpack_ex(NULL, 0, format, ap);
	va_end(ap);
	if (format && !arguments)
		return -ENOMEM;
	line = json_pack("{s:s, s:o*, s:I}", "execute", command, "arguments", arguments, "id", (json_int_t)id); /* takes them */
	if (!line)
		return -ENOMEM;
	r = append_line(out, line);
	json_decref(line);
	return r;
}
