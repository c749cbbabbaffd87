#include "wire/pack.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/unit/unit.h"

static void test_map_counts_its_pairs(void **state)
{
	static const uint8_t expected[] = "\xde\0\3\xa1n\xcd\1\0\xa1t\xa2hi\xa1m\xde\0\1\xa1z\xc0";
	struct buf buf = { 0 };
	struct pack_map map, inner;
	struct pack pack;

	(void)state;
	pack_init(&pack, &buf);
	map = pack_map_begin(&pack);
	pack_uint_field(&pack, &map, "n", 256);
	pack_string_field(&pack, &map, "t", "hi");
	pack_key(&pack, &map, "m");
	inner = pack_map_begin(&pack);
	pack_key(&pack, &inner, "z");
	pack_nil(&pack);
	pack_map_end(&pack, &inner);
	pack_map_end(&pack, &map);
	assert_int_equal(pack_finish(&pack), 0);
	assert_int_equal(buf.len, sizeof(expected) - 1);
	assert_memory_equal(buf.data, expected, buf.len);
	buf_free(&buf);
}

static void test_failure_leaves_the_buffer_as_it_was(void **state)
{
	struct buf buf = { .max = 16 };
	struct pack_map map;
	struct pack pack;

	(void)state;
	assert_int_equal(buf_append(&buf, "before", 6), 0);
	pack_init(&pack, &buf);
	map = pack_map_begin(&pack);
	pack_bytes_field(&pack, &map, "data", "0123456789", 10);
	pack_bool_field(&pack, &map, "b", true);
	pack_map_end(&pack, &map);
	assert_int_equal(pack_finish(&pack), -E2BIG);
	assert_int_equal(buf.len, 6);
	assert_memory_equal(buf.data, "before", 6);
	buf_free(&buf);
}

static void test_failure_at_the_head(void **state)
{
	struct buf buf = { .max = 2 };
	struct pack_map map;
	struct pack pack;

	(void)state;
	pack_init(&pack, &buf);
	map = pack_map_begin(&pack);
	pack_map_end(&pack, &map);
	assert_int_equal(pack_finish(&pack), -E2BIG);
	buf_free(&buf);
}

static void test_text_of_unknown_origin_is_mended(void **state)
{
	static const uint8_t expected[] = "\xab"
					  "a\xc3\xa9??"
					  "b????";
	struct buf buf = { 0 };
	struct pack pack;
	char long_text[3000];

	(void)state;
	pack_init(&pack, &buf);
	pack_mended(&pack, "a\xc3\xa9\n\x7f"
			   "b\xff\xe2\x82\xc0");
	assert_int_equal(pack_finish(&pack), 0);
	assert_int_equal(buf.data[0], 0xaa);
	assert_memory_equal(buf.data + 1, expected + 1, 10);
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	pack_mended(&pack, long_text);
	assert_int_equal(pack_finish(&pack), 0);
	buf_free(&buf);
}

static int on_write(void *ctx, const char *data, size_t len)
{
	return buf_append(ctx, data, len);
}

/* msgpack-c is asked for the same values: around every length at which the form of a value changes. */
static void test_forms_are_the_librarys(void **state)
{
	static const uint64_t edges[] = { 0, 0x0f, 0x1f, 0x7f, 0xff, 0xffff, 0xffffffff, UINT64_MAX - 1 };
	static char data[0x10002];
	struct buf ours = { 0 }, theirs = { 0 };
	msgpack_packer packer;
	struct pack pack;

	(void)state;
	msgpack_packer_init(&packer, &theirs, on_write);
	pack_init(&pack, &ours);
	for (size_t i = 0; i < 2 * sizeof(edges) / sizeof(edges[0]); i++) {
		uint64_t number = edges[i / 2] + i % 2;

		pack_uint(&pack, number);
		(void)msgpack_pack_uint64(&packer, number);
		pack_bool(&pack, i % 2);
		(void)(i % 2 ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
		if (number <= UINT32_MAX)
			pack_array(&pack, number);
		if (number <= UINT32_MAX)
			(void)msgpack_pack_array(&packer, number);
		if (number >= sizeof(data))
			continue;
		pack_text(&pack, data, number);
		(void)(msgpack_pack_str(&packer, number), msgpack_pack_str_body(&packer, data, number));
		pack_bytes(&pack, data, number);
		(void)(msgpack_pack_bin(&packer, number), msgpack_pack_bin_body(&packer, data, number));
	}
	assert_int_equal(pack_finish(&pack), 0);
	assert_int_equal(ours.len, theirs.len);
	assert_memory_equal(ours.data, theirs.data, ours.len);
	buf_free(&ours);
	buf_free(&theirs);
}

static void test_numbers_are_the_librarys(void **state)
{
	static const int64_t edges[] = { 0, -1, -32, -128, -32768, INT32_MIN, INT64_MIN + 1, INT64_MAX };
	struct buf ours = { 0 }, theirs = { 0 };
	msgpack_packer packer;
	struct pack pack;

	(void)state;
	msgpack_packer_init(&packer, &theirs, on_write);
	pack_init(&pack, &ours);
	for (size_t i = 0; i < 2 * sizeof(edges) / sizeof(edges[0]); i++) {
		int64_t number = edges[i / 2] - (int64_t)(i % 2);

		pack_int(&pack, number);
		(void)msgpack_pack_int64(&packer, number);
		pack_double(&pack, (double)number / 3);
		(void)msgpack_pack_double(&packer, (double)number / 3);
	}
	assert_int_equal(pack_finish(&pack), 0);
	assert_int_equal(ours.len, theirs.len);
	assert_memory_equal(ours.data, theirs.data, ours.len);
	buf_free(&ours);
	buf_free(&theirs);
}

static void test_utf8(void **state)
{
	static const char *const bad[] = {
		"\x80",		"\xc0\x80",	    "\xc1\xbf",		"\xe0\x80\x80",	    "\xed\xa0\x80",
		"\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe",
		"\xc3",		"\xe2\x82",	    "\xf0\x9f\xa6",	"a\xc3z",	    "\xc3\xa9\xa9"
	};
	static const char *const good[] = { "",
					    "a",
					    "\x7f",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xef\xbf\xbf",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf",
					    "h\xc3\xa9llo" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char mended[8];
		size_t len = strlen(bad[i]);

		assert_false(utf8_is_valid(bad[i], len));
		memcpy(mended, bad[i], len);
		utf8_mend(mended, len);
		assert_true(utf8_is_valid(mended, len));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_is_valid(good[i], strlen(good[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_counts_its_pairs),
		cmocka_unit_test(test_failure_leaves_the_buffer_as_it_was),
		cmocka_unit_test(test_failure_at_the_head),
		cmocka_unit_test(test_text_of_unknown_origin_is_mended),
		cmocka_unit_test(test_forms_are_the_librarys),
		cmocka_unit_test(test_numbers_are_the_librarys),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
