#include "base/buf.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"

static void test_append_and_consume(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	assert_int_equal(buf_append(&buf, "hello ", 6), 0);
	assert_int_equal(buf_append(&buf, "world", 5), 0);
	buf_consume(&buf, 6);
	assert_int_equal(buf.len, 5);
	assert_memory_equal(buf.data, "world", 5);
	buf_consume(&buf, 5);
	assert_int_equal(buf.len, 0);
	buf_free(&buf);
	assert_null(buf.data);
}

static void test_append_of_nothing(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	assert_int_equal(buf_append(&buf, NULL, 0), 0);
	buf_consume(&buf, 0);
	buf_free(&buf);
}

static void test_growth_keeps_what_is_there(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(buf_append(&buf, &(uint8_t){ (uint8_t)(i % 251) }, 1), 0);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(buf.data[i], i % 251);
	buf_free(&buf);
}

static void test_ceiling_refuses_and_leaves_unchanged(void **state)
{
	struct buf buf = { .max = 8 };

	(void)state;
	assert_int_equal(buf_append(&buf, "12345678", 8), 0); /* the ceiling itself is allowed */
	assert_int_equal(buf_append(&buf, "9", 1), -E2BIG);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX), -E2BIG);
	assert_int_equal(buf.len, 8);
	assert_memory_equal(buf.data, "12345678", 8);
	buf_free(&buf);
	assert_int_equal(buf.max, 8);
}

static void test_length_does_not_wrap(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	assert_int_equal(buf_append(&buf, "1", 1), 0);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX), -E2BIG);
	buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_consume),
		cmocka_unit_test(test_append_of_nothing),
		cmocka_unit_test(test_growth_keeps_what_is_there),
		cmocka_unit_test(test_ceiling_refuses_and_leaves_unchanged),
		cmocka_unit_test(test_length_does_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
