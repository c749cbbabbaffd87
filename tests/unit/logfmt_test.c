#include "base/logfmt.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/utf8.h"
#include "tests/support/logfmt_reader.h"
#include "tests/unit/unit.h"

static char line[4096];
static size_t line_len;

__attribute__((format(printf, 1, 2))) static void format(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_len = logfmt_format(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[line_len] = '\0';
}

static void test_plain(void **state)
{
	(void)state;
	format("id=%s n=%d message=\"%s of %u\" last=%s", "a-1", -3, "some", 7u, "x");
	assert_string_equal(line, "id=a-1 n=-3 message=\"some of 7\" last=x");
}

static void test_conversions(void **state)
{
	(void)state;
	format("d=%d u=%u l=%ld ll=%lld lu=%lu llu=%llu z=%zu sz=%zd x=0x%x c=%c p=%d%% s=%.*s", INT_MIN, UINT_MAX, LONG_MIN, LLONG_MIN,
	       ULONG_MAX, ULLONG_MAX, (size_t)5, (ssize_t)-5, 0xbeefu, 'c', 50, 3, "abcdef");
	assert_string_equal(line, "d=-2147483648 u=4294967295 l=-9223372036854775808 ll=-9223372036854775808 "
				  "lu=18446744073709551615 llu=18446744073709551615 z=5 sz=-5 x=0xbeef c=c p=50% s=abc");
}

/* What a value is written as, at a place where the call site wrote no quotes. */
static const struct {
	const char *text, *written;
} hostile[] = {
	{ "x\" outcome=\"succeeded", "\"x\\\" outcome=\\\"succeeded\"" },
	{ "x outcome=succeeded", "\"x outcome=succeeded\"" },
	{ "a\\\" b=c", "\"a\\\\\\\" b=c\"" },
	{ "\\", "\"\\\\\"" },
	{ "x\n2026-01-01T00:00:00.000Z error engine forged", "\"x\\n2026-01-01T00:00:00.000Z error engine forged\"" },
	{ "\r\t\x01\x1b[2J\x7f", "\"\\r\\t\\u0001\\u001b[2J\\u007f\"" },
	{ "\xc2\x9b\x32J", "\"\\u009b2J\"" },			 /* CSI as one character */
	{ "\xe2\x80\xae" "evil", "\"\\u202eevil\"" },		 /* right to left from here */
	{ "\xe2\x80\xa8", "\"\\u2028\"" },			 /* a line separator */
	{ "\xff\xc3", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },		 /* no UTF-8 */
	{ "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9e", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9e\"" },
	{ "", "\"\"" },
	{ "a=b", "\"a=b\"" },
};

static void test_hostile(void **state)
{
	char want[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		format("id=%s last=%d", hostile[i].text, 1);
		(void)snprintf(want, sizeof(want), "id=%s last=1", hostile[i].written);
		assert_string_equal(line, want);
		format("id=\"%s\" last=%d", hostile[i].text, 1); /* quotes of the call site make no difference */
		assert_string_equal(line, want);
	}
}

/* Part of a value, beside literal text. */
static void test_inside(void **state)
{
	(void)state;
	format("a=%s/%s b=\"'%s' of %s\"", "x y", "z", "\"", "\n");
	assert_string_equal(line, "a=\"x y/z\" b=\"'\\\"' of \\n\"");
}

/* The text with U+FFFD for what is no UTF-8; at most three times as long. */
static size_t mended(const char *text, size_t len, char *out)
{
	size_t used = 0;

	while (len) {
		size_t extent = utf8_extent((const uint8_t *)text, len);

		memcpy(out + used, extent ? text : "\xef\xbf\xbd", extent ? extent : 3);
		used += extent ? extent : 3;
		text += extent ? extent : 1;
		len -= extent ? extent : 1;
	}
	return used;
}

/* What a reader of logfmt gets of any text that is not too long is that text. */
static void check_round_trip(const char *text)
{
	struct logfmt_field fields[LOGFMT_FIELDS_MAX];
	char want[2048];
	size_t len = mended(text, strlen(text), want);

	format("id=%s n=%d message=\"%s\" last=%d", text, 5, text, 6);
	assert_int_equal(logfmt_read(line, line_len, fields), 4);
	assert_string_equal(fields[3].key, "last");
	for (int i = 0; i <= 2; i += 2) {
		assert_int_equal(fields[i].len, len);
		assert_memory_equal(fields[i].value, want, len);
	}
}

/* Pieces that mean something to somebody, in any order; the seed is fixed, so that a failure comes again. */
static void test_any_text_comes_back(void **state)
{
	static const char *const pieces[] = { "\"", "\\", "=", " ", "\n", "\r", "\t", "\x01", "\x1b[0m", "\x7f", "\xc2\x85", "\xe2\x80\xa8",
					      "\xe2\x80\xae", "\xef\xbb\xbf", "\xff", "\xc3", "\xed\xa0\x80", "\xf0\x9f\x90\x9e", "a",
					      "key=", "\\u0041", "\\\"", "'", "%s", "%n", "{}", "\xc3\xa9" };
	(void)state;
	srand(11);
	for (int round = 0; round < 20000; round++) {
		char text[128] = "";
		size_t used = 0;

		for (int n = rand() % 20; n > 0; n--)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s",
						 pieces[(size_t)rand() % ARRAY_SIZE(pieces)]);
		check_round_trip(text);
	}
	for (int byte = 1; byte < 256; byte++)
		check_round_trip((char[]){ (char)byte, '\0' });
}

/* A long value is cut between two characters, its quote closes, and what follows it stays. */
static void test_long_values_are_cut_whole(void **state)
{
	static const char *const units[] = { "a", "\"", "\x01", "\xc3\xa9", "\xf0\x9f\x90\x9e", "\xff" };
	struct logfmt_field fields[LOGFMT_FIELDS_MAX];

	(void)state;
	for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
		char text[8192] = "";

		for (size_t used = 0; used + 5 < sizeof(text); used += strlen(units[u]))
			(void)snprintf(text + used, sizeof(text) - used, "%s", units[u]);
		format("a=%s b=%s last=%d", text, text, 6);
		assert_int_equal(logfmt_read(line, line_len, fields), 3);
		assert_memory_equal(fields[0].value + fields[0].len - 3, "\xe2\x80\xa6", 3);
		assert_true(utf8_is_valid(fields[0].value, fields[0].len));
	}
}

/* A line that is full leaves out whole fields. */
static void test_full_line(void **state)
{
	struct logfmt_field fields[LOGFMT_FIELDS_MAX];
	char text[1500];

	(void)state;
	memset(text, '"', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	format("a=%s b=%s c=%s d=%s e=%s f=%s last=%d", text, text, text, text, text, text, 6);
	assert_true(line_len < sizeof(line));
	assert_in_range(logfmt_read(line, line_len, fields), 3, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_conversions),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_inside),
		cmocka_unit_test(test_any_text_comes_back),
		cmocka_unit_test(test_long_values_are_cut_whole),
		cmocka_unit_test(test_full_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
