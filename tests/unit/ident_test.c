#include "base/ident.h"

#include <string.h>

#include "tests/unit/unit.h"

static bool is_id(const char *text)
{
	return ident_is_id(text, strlen(text));
}

static bool is_image(const char *text)
{
	return ident_is_image(text, strlen(text));
}

static void test_ids(void **state)
{
	static const char *const bad[] = { "",	  ".",	 "..",	".a",	 "-a",	     "_a",
					   "a/b", "a b", "a\n", "a\x7f", "\xc3\xa9", "a%" };

	(void)state;
	assert_true(is_id("a"));
	assert_true(is_id("9"));
	assert_true(is_id("A.b_c-D"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(is_id(bad[i]));
	assert_false(ident_is_id("a\0b", 3));
}

static void test_images_are_lower_case(void **state)
{
	(void)state;
	assert_true(is_image("python-3.11_x"));
	assert_false(is_image("Base"));
	assert_false(is_image("baSe"));
	assert_false(is_image("../base"));
}

static void test_lengths(void **state)
{
	char text[80];

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_true(ident_is_id(text, IDENT_ID_MAX));
	assert_false(ident_is_id(text, IDENT_ID_MAX + 1));
	assert_true(ident_is_image(text, IDENT_IMAGE_MAX));
	assert_false(ident_is_image(text, IDENT_IMAGE_MAX + 1));
}

static void test_uuids(void **state)
{
	char one[37], two[37];

	(void)state;
	ident_uuid(one);
	ident_uuid(two);
	assert_int_equal(strlen(one), 36);
	assert_int_equal(one[14], '4');
	assert_non_null(strchr("89ab", one[19]));
	assert_true(is_id(one));
	assert_string_not_equal(one, two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_images_are_lower_case),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_uuids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
