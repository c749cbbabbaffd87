#include "base/err.h"

#include <string.h>

#include "tests/unit/unit.h"

static void test_set_without_errno(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, ERR_INPUT, 0, "no image '%s'", "base"), -EINVAL);
	assert_int_equal(err.kind, ERR_INPUT);
	assert_string_equal(err.msg, "no image 'base'");
}

static void test_set_with_errno(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, ERR_HOST, ENOSPC, "write '%s'", "f"), -ENOSPC);
	assert_int_equal(err.errnum, ENOSPC);
	assert_string_equal(err.msg, "write 'f': No space left on device");
}

static void test_set_accepts_null(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_HOST, EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, "x"), -EINVAL);
}

static void test_wrap_puts_context_in_front(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_BUSY, EAGAIN, "inner");
	assert_int_equal(err_wrap(&err, "attach disk of %s", "w1"), -EAGAIN);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_string_equal(err.msg, "attach disk of w1: inner: Resource temporarily unavailable");
}

static void test_long_messages_are_cut(void **state)
{
	struct err err;
	char text[1000];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&err, ERR_BUG, EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	(void)err_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void test_kind_names(void **state)
{
	(void)state;
	assert_string_equal(err_kind_name(ERR_BUG), "bug");
	assert_string_equal(err_kind_name(ERR_KIND_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_without_errno),     cmocka_unit_test(test_set_with_errno),
		cmocka_unit_test(test_set_accepts_null),      cmocka_unit_test(test_wrap_puts_context_in_front),
		cmocka_unit_test(test_long_messages_are_cut), cmocka_unit_test(test_kind_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
