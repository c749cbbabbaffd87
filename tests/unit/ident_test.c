#include "base/ident.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Also of a child that was forked in between: what was fetched ahead is not handed out by both. */
static void test_no_uuid_comes_twice(void **state)
{
	static char all[1001][37];
	int ends[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	for (int i = 0; i < 500; i++)
		ident_uuid(all[i]);
	pid = fork();
	if (pid == 0) {
		char uuid[37];

		ident_uuid(uuid);
		_exit(write(ends[1], uuid, sizeof(uuid)) == sizeof(uuid) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(read(ends[0], all[500], sizeof(all[500])), sizeof(all[500]));
	for (int i = 501; i < 1001; i++)
		ident_uuid(all[i]);
	qsort(all, 1001, sizeof(all[0]), compare);
	for (int i = 1; i < 1001; i++)
		assert_string_not_equal(all[i - 1], all[i]);
	(void)close(ends[0]), (void)close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_images_are_lower_case),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_uuids),
		cmocka_unit_test(test_no_uuid_comes_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
