#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "reaper/leftovers.h"

static struct leftovers leftovers;
static struct leftover_find finds[REAP_BATCH_MAX];

static int set_up(void **state)
{
	(void)state;
	leftovers = (struct leftovers){ .suspect_ms = 5000, .grace_ms = 5000 };
	return 0;
}

static void list(const char *const *ids)
{
	leftovers_list_begin(&leftovers);
	for (; *ids; ids++)
		leftovers_list_add(&leftovers, *ids);
	leftovers_list_end(&leftovers);
}

static const struct leftover_find *look(const char *vm_id, uint64_t now_ms)
{
	size_t cursor = 0, n = leftovers_next(&leftovers, &cursor, now_ms, finds);

	for (size_t i = 0; i < n; i++)
		if (strcmp(finds[i].vm_id, vm_id) == 0)
			return &finds[i];
	fail_msg("%s is not among the finds", vm_id);
	return NULL;
}

static bool may_erase(const char *vm_id, uint64_t now_ms)
{
	return look(vm_id, now_ms)->may_erase;
}

static void test_a_find_is_erased_when_nobody_held_it_for_long(void **state)
{
	(void)state;
	list((const char *const[]){ "a", "b", NULL });
	assert_false(may_erase("a", 1000));
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	leftovers_judge(&leftovers, "b", REAP_HOLD_HELD, 1000);
	list((const char *const[]){ "b", "a", NULL });
	assert_false(may_erase("a", 5999));
	assert_true(may_erase("a", 6000));
	assert_false(may_erase("b", 6000));
}

static void test_a_lease_in_between_starts_anew(void **state)
{
	(void)state;
	list((const char *const[]){ "a", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	leftovers_judge(&leftovers, "a", REAP_HOLD_HELD, 3000);
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 4000);
	assert_false(may_erase("a", 6000));
	assert_true(may_erase("a", 9000));
}

/* Its worker said until when it held it. */
static void test_a_hold_that_is_over_needs_two_looks(void **state)
{
	(void)state;
	list((const char *const[]){ "a", "b", "c", "d", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_OVER, 1000);
	leftovers_judge(&leftovers, "b", REAP_HOLD_OVER, 1000);
	leftovers_judge(&leftovers, "c", REAP_HOLD_FREE, 1000);
	leftovers_judge(&leftovers, "d", REAP_HOLD_OVER, 1000);
	assert_true(look("a", 1001)->may_erase_over);
	assert_false(look("a", 1001)->may_erase); /* should a lease name it by now */
	assert_false(look("c", 1001)->may_erase_over); /* the control: of this one nothing is known */
	leftovers_judge(&leftovers, "b", REAP_HOLD_HELD, 1001); /* Redis's clock had jumped, or its worker had been stopped */
	leftovers_judge(&leftovers, "d", REAP_HOLD_FREE, 1001);
	assert_false(look("b", 1002)->may_erase_over);
	assert_false(look("d", 1002)->may_erase_over);
	leftovers_trust_all(&leftovers);
	assert_false(look("a", 1002)->may_erase_over);
}

static void test_a_hold_that_is_over_is_tried_again_after_its_pause(void **state)
{
	unsigned n_failures;

	(void)state;
	list((const char *const[]){ "a", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_OVER, 1000);
	(void)leftovers_failed(&leftovers, "a", 2000, &n_failures);
	assert_false(look("a", 6999)->may_erase_over);
	assert_true(look("a", 7000)->may_erase_over);
}

static void test_redis_lost_sight_starts_anew(void **state)
{
	(void)state;
	list((const char *const[]){ "a", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	leftovers_trust_all(&leftovers);
	assert_false(may_erase("a", 7000));
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 7000);
	assert_false(may_erase("a", 11999));
	assert_true(may_erase("a", 12000));
}

static void test_what_was_gone_is_new(void **state)
{
	(void)state;
	list((const char *const[]){ "a", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	list((const char *const[]){ NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 2000); /* an answer about what is no more */
	list((const char *const[]){ "a", NULL });
	assert_false(may_erase("a", 6000));
}

static void test_pauses_grow_and_end(void **state)
{
	uint64_t now_ms = 100000, pauses[8];
	unsigned n_failures;

	(void)state;
	list((const char *const[]){ "a", "b", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	leftovers_judge(&leftovers, "b", REAP_HOLD_FREE, 1000);
	for (unsigned i = 0; i < 8; i++) {
		pauses[i] = leftovers_failed(&leftovers, "a", now_ms, &n_failures);
		assert_int_equal(n_failures, i + 1);
		assert_false(may_erase("a", now_ms + pauses[i] - 1));
		assert_true(may_erase("b", now_ms)); /* another's failure is not its own */
		now_ms += pauses[i];
		assert_true(may_erase("a", now_ms)); /* for ever */
	}
	assert_int_equal(pauses[0], 5000);
	assert_int_equal(pauses[1], 10000);
	assert_int_equal(pauses[7], LEFTOVERS_PAUSE_MAX_MS);
}

static void test_a_failure_in_a_round_is_remembered(void **state)
{
	unsigned n_failures;

	(void)state;
	list((const char *const[]){ NULL });
	(void)leftovers_failed(&leftovers, "a", 1000, &n_failures);
	list((const char *const[]){ "a", NULL });
	leftovers_judge(&leftovers, "a", REAP_HOLD_FREE, 1000);
	assert_true(may_erase("a", 6000));
	assert_int_equal(leftovers_failed(&leftovers, "a", 6000, &n_failures), 10000);
	assert_int_equal(n_failures, 2);
}

static void test_many(void **state)
{
	size_t cursor = 0, n = 0, all = 0;
	char id[16];

	(void)state;
	leftovers_list_begin(&leftovers);
	for (int i = 0; i < LEFTOVERS_MAX + 10; i++) {
		(void)snprintf(id, sizeof(id), "id-%d", i);
		leftovers_list_add(&leftovers, id);
		leftovers_list_add(&leftovers, id);
	}
	leftovers_list_end(&leftovers);
	while ((n = leftovers_next(&leftovers, &cursor, 1000, finds)) > 0)
		all += n;
	assert_int_equal(all, LEFTOVERS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_find_is_erased_when_nobody_held_it_for_long, set_up),
		cmocka_unit_test_setup(test_a_lease_in_between_starts_anew, set_up),
		cmocka_unit_test_setup(test_a_hold_that_is_over_needs_two_looks, set_up),
		cmocka_unit_test_setup(test_a_hold_that_is_over_is_tried_again_after_its_pause, set_up),
		cmocka_unit_test_setup(test_redis_lost_sight_starts_anew, set_up),
		cmocka_unit_test_setup(test_what_was_gone_is_new, set_up),
		cmocka_unit_test_setup(test_pauses_grow_and_end, set_up),
		cmocka_unit_test_setup(test_a_failure_in_a_round_is_remembered, set_up),
		cmocka_unit_test_setup(test_many, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
