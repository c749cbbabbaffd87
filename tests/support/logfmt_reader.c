#include "tests/support/logfmt_reader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add(struct logfmt_field *field, char c)
{
	if (field->len == sizeof(field->value))
		return false;
	field->value[field->len++] = c;
	return true;
}

static bool add_character(struct logfmt_field *field, unsigned c)
{
	if (c < 0x80)
		return add(field, (char)c);
	if (c < 0x800)
		return add(field, (char)(0xc0 | c >> 6)) && add(field, (char)(0x80 | (c & 0x3f)));
	return add(field, (char)(0xe0 | c >> 12)) && add(field, (char)(0x80 | (c >> 6 & 0x3f))) &&
	       add(field, (char)(0x80 | (c & 0x3f)));
}

/* Behind a backslash. Answers where it ends, NULL when it is none. */
static const char *read_escape(const char *at, const char *end, struct logfmt_field *field)
{
	char digits[5] = "";
	char *stop;

	if (at == end)
		return NULL;
	switch (*at) {
	case '"':
	case '\\':
		return add(field, *at) ? at + 1 : NULL;
	case 'n':
		return add(field, '\n') ? at + 1 : NULL;
	case 'r':
		return add(field, '\r') ? at + 1 : NULL;
	case 't':
		return add(field, '\t') ? at + 1 : NULL;
	case 'u':
		if (end - at < 5)
			return NULL;
		memcpy(digits, at + 1, 4);
		if (!add_character(field, (unsigned)strtoul(digits, &stop, 16)) || *stop)
			return NULL;
		return at + 5;
	default:
		return NULL;
	}
}

static const char *read_quoted(const char *at, const char *end, struct logfmt_field *field)
{
	while (at && at < end && *at != '"') {
		if ((uint8_t)*at < 0x20 || *at == 0x7f)
			return NULL;
		if (*at == '\\')
			at = read_escape(at + 1, end, field);
		else
			at = add(field, *at) ? at + 1 : NULL;
	}
	return at && at < end ? at + 1 : NULL;
}

static const char *read_bare(const char *at, const char *end, struct logfmt_field *field)
{
	while (at < end && *at != ' ') {
		if ((uint8_t)*at <= 0x20 || *at == 0x7f || *at == '"' || *at == '=' || *at == '\\' || !add(field, *at))
			return NULL;
		at++;
	}
	return at;
}

int logfmt_read(const char *text, size_t len, struct logfmt_field fields[LOGFMT_FIELDS_MAX])
{
	const char *at = text, *end = text + len;
	int n = 0;

	while (at < end) {
		const char *equals = memchr(at, '=', (size_t)(end - at));
		struct logfmt_field *field = &fields[n];

		if (!equals || n == LOGFMT_FIELDS_MAX || equals == at || (size_t)(equals - at) >= sizeof(field->key))
			return -1;
		(void)snprintf(field->key, sizeof(field->key), "%.*s", (int)(equals - at), at);
		field->len = 0;
		at = equals + 1;
		at = at < end && *at == '"' ? read_quoted(at + 1, end, field) : read_bare(at, end, field);
		if (!at || (at < end && *at != ' '))
			return -1;
		at += at < end;
		n++;
	}
	return n;
}
