/* Any text in a log line: a reader of logfmt finds the fields that the call site named, and in them that text. */
#include "base/logfmt.h"

#include <string.h>

#include "base/utf8.h"
#include "tests/fuzz/target.h"
#include "tests/support/logfmt_reader.h"

#define TEXT_MAX 4000

__attribute__((format(printf, 3, 4))) static size_t format(char *out, size_t size, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	len = logfmt_format(out, size, fmt, ap);
	va_end(ap);
	return len;
}

/* Is `field` the text, with U+FFFD for what is none, or, of a long one, its beginning and an ellipsis? */
static bool is_text(const struct logfmt_field *field, const char *text)
{
	size_t len = strlen(text), at = 0;

	while (len && at < field->len) {
		size_t extent = utf8_extent((const uint8_t *)text, len);
		const char *want = extent ? text : "\xef\xbf\xbd";
		size_t n = extent ? extent : 3;

		if (at + n > field->len || memcmp(field->value + at, want, n) != 0)
			break;
		at += n;
		text += extent ? extent : 1;
		len -= extent ? extent : 1;
	}
	if (len == 0 && at == field->len)
		return true;
	/* the text may have an ellipsis of its own where it was cut: then the loop above went over the field's */
	return field->len > 100 && at + 3 >= field->len && memcmp(field->value + field->len - 3, "\xe2\x80\xa6", 3) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct logfmt_field fields[LOGFMT_FIELDS_MAX];
	char text[TEXT_MAX + 1], line[4096];
	size_t used;

	len = len > TEXT_MAX ? TEXT_MAX : len;
	memcpy(text, data, len);
	text[len] = '\0';
	used = format(line, sizeof(line), "id=%s n=%d message=\"%s\" last=%d", text, 7, text, 8);
	FUZZ_CHECK(used <= sizeof(line));
	FUZZ_CHECK(!memchr(line, '\n', used));
	FUZZ_CHECK(utf8_is_valid(line, used));
	FUZZ_CHECK(logfmt_read(line, used, fields) == 4);
	FUZZ_CHECK(strcmp(fields[0].key, "id") == 0 && is_text(&fields[0], text));
	FUZZ_CHECK(strcmp(fields[2].key, "message") == 0 && is_text(&fields[2], text));
	FUZZ_CHECK(strcmp(fields[3].key, "last") == 0 && fields[3].len == 1 && fields[3].value[0] == '8');
	return 0;
}
