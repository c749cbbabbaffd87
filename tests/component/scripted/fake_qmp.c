#include "tests/component/scripted/fake_qmp.h"

#include <assert.h>
#include <event2/buffer.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "tests/component/scripted/fake_stream.h"

struct fake_qmp {
	struct fake_stream stream; /* first: see fake_stream.h */
	void (*on_command)(void *ctx, const char *name);
	void *ctx;
	json_int_t last_id; /* of a command */
};

#define STAMP "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":"
#define LINE_MAX_BYTES 200 /* of an answer */

static const struct {
	const char *verb, *text;
} lines[] = {
	{ "greeting", "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n" },
	{ "anonymous", "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\r\n" },
	{ "io", STAMP "\"BLOCK_IO_ERROR\",\"data\":{\"nospace\":true}}\r\n" },
	{ "reset", STAMP "\"RESET\",\"data\":{}}\r\n" },
	{ "stop", STAMP "\"SHUTDOWN\",\"data\":{\"guest\":true}}\r\n" },
	{ "resumed", STAMP "\"RESUME\"}\r\n" },
	{ "saved", STAMP "\"MIGRATION\",\"data\":{\"status\":\"completed\"}}\r\n" },
	{ "unsaved", STAMP "\"MIGRATION\",\"data\":{\"status\":\"failed\"}}\r\n" },
	{ "event", STAMP "\"NEVER_HEARD_OF\"}\r\n" },
	{ "nameless", STAMP "7}\r\n" },
	{ "noise", "\\\001\002}{ no\r\n" },
	{ "list", "[[[[[[[[]]]]]]]]\r\n" },
	{ "nothing", "{}\r\n" },
	{ "blank", "\r\n" },
	{ "half", "{\"return\":{}" },
};

static void send_endless(struct fake_qmp *qmp, size_t len)
{
	cleanup_free char *line = malloc(len);

	assert(line);
	memset(line, 'x', len);
	fake_stream_send(&qmp->stream, line, len);
}

/* Without an `id` of its own it answers the last command. */
static void send_answer(struct fake_qmp *qmp, const char *text, unsigned long id)
{
	unsigned long answered = id ? id : (unsigned long)qmp->last_id;
	char line[LINE_MAX_BYTES];

	fake_stream_send(&qmp->stream, line, (size_t)snprintf(line, sizeof(line), "%s,\"id\":%lu}\r\n", text, answered));
}

bool fake_qmp_say(struct fake_qmp *qmp, const struct script_word *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (strcmp(lines[i].verb, word->verb) == 0) {
			fake_stream_send(&qmp->stream, lines[i].text, strlen(lines[i].text));
			return true;
		}
	if (strcmp(word->verb, "return") == 0)
		send_answer(qmp, "{\"return\":{}", word->number);
	else if (strcmp(word->verb, "error") == 0)
		send_answer(qmp, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}", word->number);
	else if (strcmp(word->verb, "endless") == 0)
		send_endless(qmp, word->number);
	else if (strcmp(word->verb, "close") == 0)
		fake_stream_close(&qmp->stream);
	else
		return false;
	return true;
}

static void take_line(struct fake_qmp *qmp, const char *line)
{
	json_t *root = json_loads(line, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "execute"));
	char command[SCRIPT_NAME_MAX];

	assert(name); /* it is the engine's */
	qmp->last_id = json_integer_value(json_object_get(root, "id"));
	(void)snprintf(command, sizeof(command), "%s", name);
	json_decref(root);
	qmp->on_command(qmp->ctx, command);
}

static void on_input(struct bufferevent *bufferevent, void *ctx)
{
	struct fake_qmp *qmp = ctx;

	while (qmp->stream.bufferevent) {
		cleanup_free char *line = evbuffer_readln(bufferevent_get_input(bufferevent), NULL, EVBUFFER_EOL_LF);

		if (!line)
			return;
		take_line(qmp, line);
	}
}

struct fake_qmp *fake_qmp_new(struct event_base *base, int fd, void (*on_command)(void *ctx, const char *name), void *ctx)
{
	struct fake_qmp *qmp = calloc(1, sizeof(*qmp));

	assert(qmp);
	qmp->on_command = on_command;
	qmp->ctx = ctx;
	fake_stream_open(&qmp->stream, base, fd, on_input);
	return qmp;
}

void fake_qmp_free(struct fake_qmp *qmp)
{
	fake_stream_close(&qmp->stream);
	free(qmp);
}

bool fake_qmp_is_left(const struct fake_qmp *qmp)
{
	return !qmp->stream.bufferevent || qmp->stream.is_left;
}
