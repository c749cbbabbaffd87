/* Two steps for every value: first its raw text is made from the format and the arguments, then that text is written. So what is
 * text and what is structure is never guessed from the result. */
#include "base/logfmt.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define ESCAPE_MAX_BYTES 6	/* \u and four digits */
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD: a byte that is no text */
#define ELLIPSIS "\xe2\x80\xa6"	/* U+2026 */
#define CLOSING (sizeof(ELLIPSIS "\"") - 1)

struct text {
	char *at;
	size_t len, size;
	bool is_cut;
};

static void put(struct text *text, const char *from, size_t len)
{
	size_t room = text->size - text->len;

	text->is_cut |= len > room;
	len = len > room ? room : len;
	memcpy(text->at + text->len, from, len);
	text->len += len;
}

/* One conversion: what stands between its '%' and its letter. */
struct conversion {
	int precision; /* -1: none */
	char length;   /* 0, 'h' (also hh), 'l', 'L' for ll, 'z' */
	char letter;
};

static const char *read_conversion(const char *fmt, va_list *ap, struct conversion *ret)
{
	*ret = (struct conversion){ .precision = -1 };
	if (fmt[0] == '.' && fmt[1] == '*') {
		ret->precision = va_arg(*ap, int);
		fmt += 2;
	}
	for (; *fmt && strchr("hlz", *fmt); fmt++)
		ret->length = *fmt == 'l' && ret->length == 'l' ? 'L' : *fmt;
	ret->letter = *fmt;
	return *fmt ? fmt + 1 : fmt;
}

static void put_string(struct text *text, int precision, const char *string)
{
	if (!string)
		string = "(null)";
	put(text, string, precision < 0 ? strlen(string) : strnlen(string, (size_t)precision));
}

static long long signed_arg(char length, va_list *ap)
{
	switch (length) {
	case 'l':
		return va_arg(*ap, long);
	case 'L':
		return va_arg(*ap, long long);
	case 'z':
		return va_arg(*ap, ssize_t);
	default:
		return va_arg(*ap, int); /* shorter ones are promoted */
	}
}

static unsigned long long unsigned_arg(char length, va_list *ap)
{
	switch (length) {
	case 'l':
		return va_arg(*ap, unsigned long);
	case 'L':
		return va_arg(*ap, unsigned long long);
	case 'z':
		return va_arg(*ap, size_t);
	default:
		return va_arg(*ap, unsigned);
	}
}

static void put_conversion(struct text *text, const struct conversion *conversion, va_list *ap)
{
	char number[24];
	int n = 0;

	switch (conversion->letter) {
	case 's':
		put_string(text, conversion->precision, va_arg(*ap, const char *));
		break;
	case 'd':
	case 'i':
		n = snprintf(number, sizeof(number), "%lld", signed_arg(conversion->length, ap));
		break;
	case 'u':
		n = snprintf(number, sizeof(number), "%llu", unsigned_arg(conversion->length, ap));
		break;
	case 'x':
		n = snprintf(number, sizeof(number), "%llx", unsigned_arg(conversion->length, ap));
		break;
	case 'c':
		number[0] = (char)va_arg(*ap, int);
		n = 1;
		break;
	case '%':
		put(text, "%", 1);
		break;
	default:
		assert(false); /* tests/lint/logs.py finds it first */
	}
	put(text, number, (size_t)n);
}

/* The raw text of the value that begins at `fmt`; answers where it ends. `is_quoted`: between quotes of the format. */
static const char *render(struct text *raw, const char *fmt, bool is_quoted, va_list *ap)
{
	struct conversion conversion;

	while (*fmt && *fmt != (is_quoted ? '"' : ' ')) {
		if (*fmt != '%') {
			put(raw, fmt++, 1);
			continue;
		}
		fmt = read_conversion(fmt + 1, ap, &conversion);
		put_conversion(raw, &conversion, ap);
	}
	return is_quoted && *fmt ? fmt + 1 : fmt;
}

/* What a terminal or a reader takes for more than a character: controls (C1 too), line separators, changes of direction. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* Of well-formed sequences up to three bytes, 0 for longer ones: none of those is unsafe. */
static uint32_t character(const uint8_t *p, size_t extent)
{
	if (extent == 1)
		return p[0];
	if (extent == 2)
		return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
	if (extent == 3)
		return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
	return UINT32_MAX;
}

/* The piece at the beginning of `from` as it is written within quotes; answers how many bytes of `from` it stands for. */
static size_t escape(const char *from, size_t len, char out[ESCAPE_MAX_BYTES + 1])
{
	static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	size_t extent = utf8_extent((const uint8_t *)from, len);
	uint32_t c = extent ? character((const uint8_t *)from, extent) : 0;
	const char *known = c && c < 0x80 ? strchr(plain, (int)c) : NULL;

	if (extent == 0)
		(void)snprintf(out, ESCAPE_MAX_BYTES + 1, "%s", REPLACEMENT);
	else if (known)
		(void)snprintf(out, ESCAPE_MAX_BYTES + 1, "\\%c", letters[known - plain]);
	else if (is_unsafe(c))
		(void)snprintf(out, ESCAPE_MAX_BYTES + 1, "\\u%04x", (unsigned)(c & 0xffff));
	else
		(void)snprintf(out, ESCAPE_MAX_BYTES + 1, "%.*s", (int)extent, from);
	return extent ? extent : 1;
}

/* A few plain characters need no quotes. */
static bool is_bare(const struct text *raw)
{
	for (size_t i = 0; i < raw->len; i++)
		if (raw->at[i] <= ' ' || raw->at[i] >= 0x7f || strchr("\"\\=", raw->at[i]))
			return false;
	return raw->len > 0 && !raw->is_cut;
}

static void write_quoted(struct text *out, const struct text *raw)
{
	size_t used = 0, limit = out->len + LOGFMT_VALUE_BYTES < out->size ? out->len + LOGFMT_VALUE_BYTES : out->size;
	bool is_cut = raw->is_cut;

	put(out, "\"", 1);
	while (used < raw->len) {
		char piece[ESCAPE_MAX_BYTES + 1];
		size_t extent = escape(raw->at + used, raw->len - used, piece);
		size_t len = strlen(piece);

		if (out->len + len + CLOSING > limit) {
			is_cut = true;
			break;
		}
		put(out, piece, len);
		used += extent;
	}
	if (is_cut)
		put(out, ELLIPSIS, sizeof(ELLIPSIS) - 1);
	put(out, "\"", 1);
}

/* Whole or not at all: the room for a key with a value of at least a word. */
static bool has_room(const struct text *out, size_t key_len, const struct text *raw)
{
	size_t least = raw->len < 16 ? raw->len : 16;

	return out->size - out->len > 1 + key_len + 1 + ESCAPE_MAX_BYTES * least + CLOSING;
}

size_t logfmt_format(char *out, size_t size, const char *fmt, va_list ap)
{
	struct text line = { .at = out, .size = size };
	va_list rest;

	va_copy(rest, ap);
	while (*fmt) {
		char bytes[LOGFMT_VALUE_BYTES];
		struct text raw = { .at = bytes, .size = sizeof(bytes) };
		const char *key = fmt;
		size_t key_len = strcspn(fmt, "= ");
		bool is_quoted = fmt[key_len] == '=' && fmt[key_len + 1] == '"';

		fmt += key_len + (fmt[key_len] == '=') + is_quoted;
		fmt = render(&raw, fmt, is_quoted, &rest);
		fmt += *fmt == ' ';
		if (!has_room(&line, key_len, &raw))
			break;
		put(&line, " ", line.len > 0);
		put(&line, key, key_len);
		put(&line, "=", 1);
		if (!is_quoted && is_bare(&raw))
			put(&line, raw.at, raw.len);
		else
			write_quoted(&line, &raw);
	}
	va_end(rest);
	return line.len;
}
