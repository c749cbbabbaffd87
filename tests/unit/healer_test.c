#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "reaper/healer.h"

static struct healer healer;
static struct reap_find finds[REAP_BATCH_MAX];

static int set_up(void **state)
{
	(void)state;
	healer = (struct healer){ .grace_ms = 5000 };
	return 0;
}

static void list(const char *const *ids)
{
	healer_list_begin(&healer);
	for (; *ids; ids++)
		healer_list_add(&healer, *ids);
	healer_list_end(&healer);
}

static bool may_take(const char *id, uint64_t now_ms)
{
	size_t cursor = 0, n = healer_next(&healer, &cursor, now_ms, finds);

	for (size_t i = 0; i < n; i++)
		if (strcmp(finds[i].id, id) == 0)
			return finds[i].may_take;
	fail_msg("%s is not among the finds", id);
	return false;
}

static void test_a_find_is_taken_after_the_grace(void **state)
{
	(void)state;
	list((const char *const[]){ "a", "b", NULL });
	assert_false(may_take("a", 1000));
	healer_judge(&healer, "a", 1, 1000);
	healer_judge(&healer, "b", 0, 1000);
	list((const char *const[]){ "b", "a", NULL });
	assert_false(may_take("a", 5999));
	assert_true(may_take("a", 6000));
	assert_false(may_take("b", 6000));
}

static void test_a_lease_in_between_starts_anew(void **state)
{
	(void)state;
	list((const char *const[]){ "a", NULL });
	healer_judge(&healer, "a", -1, 1000);
	healer_judge(&healer, "a", 0, 3000);
	healer_judge(&healer, "a", 1, 4000);
	assert_false(may_take("a", 6000));
	assert_true(may_take("a", 9000));
}

static void test_what_was_gone_is_new(void **state)
{
	(void)state;
	list((const char *const[]){ "a", NULL });
	healer_judge(&healer, "a", 1, 1000);
	list((const char *const[]){ NULL });
	healer_judge(&healer, "a", 1, 2000); /* an answer about what is no more */
	list((const char *const[]){ "a", NULL });
	assert_false(may_take("a", 6000));
}

static void test_pauses_grow_and_end(void **state)
{
	uint64_t now_ms = 100000, pauses[8];
	unsigned n_failures;

	(void)state;
	list((const char *const[]){ "a", "b", NULL });
	healer_judge(&healer, "a", 1, 1000);
	healer_judge(&healer, "b", 1, 1000);
	for (unsigned i = 0; i < 8; i++) {
		pauses[i] = healer_failed(&healer, "a", now_ms, &n_failures);
		assert_int_equal(n_failures, i + 1);
		assert_false(may_take("a", now_ms + pauses[i] - 1));
		assert_true(may_take("b", now_ms)); /* another's failure is not its own */
		now_ms += pauses[i];
		assert_true(may_take("a", now_ms)); /* for ever */
	}
	assert_int_equal(pauses[0], 5000);
	assert_int_equal(pauses[1], 10000);
	assert_int_equal(pauses[7], HEALER_PAUSE_MAX_MS);
}

static void test_a_failure_in_a_round_is_remembered(void **state)
{
	unsigned n_failures;

	(void)state;
	list((const char *const[]){ NULL });
	(void)healer_failed(&healer, "a", 1000, &n_failures);
	list((const char *const[]){ "a", NULL });
	healer_judge(&healer, "a", 1, 1000);
	assert_true(may_take("a", 6000));
	assert_int_equal(healer_failed(&healer, "a", 6000, &n_failures), 10000);
	assert_int_equal(n_failures, 2);
}

static void test_many(void **state)
{
	size_t cursor = 0, n = 0, all = 0;
	char id[16];

	(void)state;
	healer_list_begin(&healer);
	for (int i = 0; i < HEALER_MAX + 10; i++) {
		(void)snprintf(id, sizeof(id), "id-%d", i);
		healer_list_add(&healer, id);
		healer_list_add(&healer, id);
	}
	healer_list_end(&healer);
	while ((n = healer_next(&healer, &cursor, 1000, finds)) > 0)
		all += n;
	assert_int_equal(all, HEALER_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_find_is_taken_after_the_grace, set_up),
		cmocka_unit_test_setup(test_a_lease_in_between_starts_anew, set_up),
		cmocka_unit_test_setup(test_what_was_gone_is_new, set_up),
		cmocka_unit_test_setup(test_pauses_grow_and_end, set_up),
		cmocka_unit_test_setup(test_a_failure_in_a_round_is_remembered, set_up),
		cmocka_unit_test_setup(test_many, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
