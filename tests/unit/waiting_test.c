#include "tools/waiting.h"

#include "tests/unit/unit.h"

static void test_every_record_is_answered_once(void **state)
{
	struct waiting *waiting = NULL;
	struct err err;

	(void)state;
	assert_int_equal(waiting_new(&waiting, &err), 0);
	for (int64_t offset = 0; offset < 20000; offset++)
		assert_int_equal(waiting_add(waiting, (int32_t)(offset % 8), offset * 3, &err), 0);
	assert_int_equal(waiting_left(waiting), 20000);
	for (int64_t offset = 19999; offset >= 0; offset--)
		assert_int_equal(waiting_answer(waiting, (int32_t)(offset % 8), offset * 3), WAITING_VERDICT_FIRST);
	assert_int_equal(waiting_left(waiting), 0);
	assert_int_equal(waiting_answer(waiting, 0, 0), WAITING_VERDICT_AGAIN);
	assert_int_equal(waiting_answer(waiting, 1, 0), WAITING_VERDICT_FOREIGN);
	assert_int_equal(waiting_answer(waiting, 0, 1), WAITING_VERDICT_FOREIGN);
	waiting_free(waiting);
}

static void test_who_has_started(void **state)
{
	struct waiting *waiting = NULL;
	struct err err;

	(void)state;
	assert_int_equal(waiting_new(&waiting, &err), 0);
	for (int64_t offset = 0; offset < 3; offset++)
		assert_int_equal(waiting_add(waiting, 0, offset, &err), 0);
	waiting_start(waiting, 0, 1);
	waiting_start(waiting, 0, 1); /* again, after a crash */
	waiting_start(waiting, 1, 1); /* not ours */
	assert_int_equal(waiting_started(waiting), 1);
	assert_int_equal(waiting_answer(waiting, 0, 0), WAITING_VERDICT_FIRST); /* never started */
	assert_int_equal(waiting_started(waiting), 1);
	assert_int_equal(waiting_answer(waiting, 0, 1), WAITING_VERDICT_FIRST);
	waiting_start(waiting, 0, 1); /* told late */
	assert_int_equal(waiting_started(waiting), 0);
	assert_int_equal(waiting_left(waiting), 1);
	waiting_free(waiting);
}

static void test_the_highest_of_a_partition(void **state)
{
	struct waiting *waiting = NULL;
	struct err err;

	(void)state;
	assert_int_equal(waiting_new(&waiting, &err), 0);
	assert_int_equal(waiting_highest(waiting, 3), -1);
	assert_int_equal(waiting_add(waiting, 3, 10, &err), 0);
	assert_int_equal(waiting_add(waiting, 3, 7, &err), 0);
	assert_int_equal(waiting_highest(waiting, 3), 10);
	assert_int_equal(waiting_highest(waiting, 2), -1);
	assert_int_equal(waiting_highest(waiting, -1), -1);
	assert_int_equal(waiting_add(waiting, 3, 10, &err), 0); /* twice: still one */
	assert_int_equal(waiting_left(waiting), 2);
	assert_true(waiting_add(waiting, 100000, 1, &err) < 0);
	waiting_free(waiting);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_record_is_answered_once),
					    cmocka_unit_test(test_who_has_started),
					    cmocka_unit_test(test_the_highest_of_a_partition) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
