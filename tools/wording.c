#include "tools/wording.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "wire/unpack.h"

/* `unit` of its limits. A field that ends in '[' or '.' stands for all of its elements. */
static const struct wording {
	const char *field, *option, *unit;
} wordings[] = { { "queue_ms", "--queue", " ms" },
		 { "ttl_ms", "--ttl", " ms" },
		 { "timeout_ms", "--timeout", " ms" },
		 { "memory_mib", "--memory", " MiB" },
		 { "disk_mib", "--disk", " MiB" },
		 { "output_limit_bytes", "--output-limit", " bytes" },
		 { "cpus", "--cpus", "" },
		 { "image", "--image", "" },
		 { "id", "--id", "" },
		 { "stdin", "--stdin", "" },
		 { "argv[0]", "the program's name", "" },
		 { "argv[", "an argument", "" },
		 { "argv", "the arguments", "" },
		 { "env", "--env", "" },
		 { "env.", "--env", "" },
		 { "labels", "--label", "" },
		 { "labels.", "--label", "" },
		 { "files", "--file", "" },
		 { "files[", "--file", "" },
		 { "collect", "--collect", "" },
		 { "collect[", "--collect", "" } };

static const struct wording *find(const char *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(wordings); i++) {
		size_t len = strlen(wordings[i].field);
		bool is_prefix = wordings[i].field[len - 1] == '[' || wordings[i].field[len - 1] == '.';

		if (is_prefix ? strncmp(field, wordings[i].field, len) == 0 : strcmp(field, wordings[i].field) == 0)
			return &wordings[i];
	}
	return NULL;
}

/* The value as typed of files[N] and collect[N], NULL for any other field. */
static const char *value_of(const struct wording_typed *typed, const char *field)
{
	if (strncmp(field, "files[", 6) == 0 && strtoul(field + 6, NULL, 10) < typed->n_files)
		return typed->files[strtoul(field + 6, NULL, 10)];
	if (strncmp(field, "collect[", 8) == 0 && strtoul(field + 8, NULL, 10) < typed->n_collects)
		return typed->collects[strtoul(field + 8, NULL, 10)];
	return NULL;
}

void wording_option(const struct wording_typed *typed, const char *field, char *out, size_t size)
{
	const struct wording *wording = find(field);
	const char *value = value_of(typed, field), *name = wording ? strchr(field, '.') : NULL;

	if (!wording)
		out[0] = '\0';
	else if (value)
		(void)snprintf(out, size, "%s '%.100s'", wording->option, value);
	else if (name && wording->field[strlen(wording->field) - 1] == '.')
		(void)snprintf(out, size, "%s '%.60s'", wording->option, name + 1);
	else if (strncmp(field, "argv[", 5) == 0 && strcmp(field, "argv[0]") != 0)
		(void)snprintf(out, size, "argument %lu", strtoul(field + 5, NULL, 10));
	else
		(void)snprintf(out, size, "%s", wording->option);
}

/* `text` with the first `from` in it replaced. */
static void replace(char *text, size_t size, const char *from, size_t from_len, const char *to)
{
	char *at = from_len ? strstr(text, from) : NULL;
	cleanup_free char *rest = at ? strdup(at + from_len) : NULL;

	if (rest)
		(void)snprintf(at, size - (size_t)(at - text), "%s%s", to, rest);
}

/* Takes out what only a sender of msgpack has use for, and says task for message. */
static void make_plain(const char *message, char *out, size_t size)
{
	char *sent_as;

	(void)snprintf(out, size, "%s", message);
	sent_as = strstr(out, UNPACK_SENT_AS);
	if (sent_as)
		*sent_as = '\0';
	replace(out, size, "the message", strlen("the message"), "the task");
}

void wording_of_json(const struct task_flaw *flaw, char out[WORDING_BYTES])
{
	char message[sizeof(flaw->message) + 40];

	make_plain(flaw->message, message, sizeof(message));
	replace(message, sizeof(message), "must be a map", strlen("must be a map"), "must be an object");
	replace(message, sizeof(message), "must be bytes", strlen("must be bytes"), "must be text in base64");
	(void)snprintf(out, WORDING_BYTES, "%s%s%s", flaw->field, flaw->field[0] ? ": " : "", message);
}

/* Another field that a message names ("the same as collect[0]"). */
static void name_others(const struct wording_typed *typed, char *message, size_t size)
{
	static const char *const lists[] = { "files[", "collect[" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const char *at = strstr(message, lists[i]);
		const char *end = at ? strchr(at, ']') : NULL;
		char field[64], name[128];
		size_t len;

		if (!end)
			continue;
		len = (size_t)(end - at) + 1;
		len += strncmp(at + len, ".path", 5) == 0 ? 5 : 0;
		(void)snprintf(field, sizeof(field), "%.*s", (int)len, at);
		wording_option(typed, field, name, sizeof(name));
		replace(message, size, field, strlen(field), name);
	}
}

void wording_of_options(const struct wording_typed *typed, const struct task_flaw *flaw, char out[WORDING_BYTES])
{
	char message[sizeof(flaw->message) + 120], option[128];
	const struct wording *wording = find(flaw->field);
	bool has_limits = strncmp(flaw->message, "must be from ", 13) == 0;

	make_plain(flaw->message, message, sizeof(message));
	replace(message, sizeof(message), "argv and env together", strlen("argv and env together"),
		"with the program's name and every --env they");
	name_others(typed, message, sizeof(message));
	wording_option(typed, flaw->field, option, sizeof(option));
	(void)snprintf(out, WORDING_BYTES, "%s%s%s%s", option[0] ? option : flaw->field, flaw->field[0] ? ": " : "", message,
		       wording && has_limits ? wording->unit : "");
}
