#include "tests/unit/unit.h"

#include <string.h>

#include "worker/content.h"

static void content(const char *id, uint64_t created_ms, const char *word, uint32_t memory_mib, char ret[LEASE_CONTENT_MAX + 1])
{
	struct task_text argv[] = { { "echo" }, { (char *)(uintptr_t)word } };
	struct task task = task_defaults;

	(void)snprintf(task.id, sizeof(task.id), "%s", id);
	(void)snprintf(task.image, sizeof(task.image), "base");
	task.argv = argv;
	task.n_argv = 2;
	task.created_ms = created_ms;
	task.memory_mib = memory_mib;
	assert_int_equal(content_of(&task, ret), 0);
}

static void test_what_counts(void **state)
{
	char one[LEASE_CONTENT_MAX + 1], other[LEASE_CONTENT_MAX + 1];

	(void)state;
	content("a", 1000, "x", 256, one);
	assert_int_equal(strlen(one), LEASE_CONTENT_MAX);
	assert_int_equal(strspn(one, "0123456789abcdef"), LEASE_CONTENT_MAX);
	content("a", 2000, "x", 256, other);
	assert_string_equal(one, other); /* when it was made does not */
	content("a", 1000, "y", 256, other);
	assert_string_not_equal(one, other);
	content("a", 1000, "x", 257, other);
	assert_string_not_equal(one, other);
	content("b", 1000, "x", 256, other);
	assert_string_not_equal(one, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_counts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
