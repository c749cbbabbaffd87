/* What becomes of a lease that the reaper took: by its state, its ttl_ms and its attempts. */
#include "tests/unit/unit.h"

#include "bus/lease_keys.h"
#include "reaper/lease_plan.h"

#define LEASE_MS 10000

static void test_a_plan_per_state(void **state)
{
	static const enum lease_plan plans[REAP_STATE_COUNT] = {
		[REAP_STATE_RUNNING] = LEASE_PLAN_REAP, [REAP_STATE_REAPING] = LEASE_PLAN_REAP,
		[REAP_STATE_ORPHAN] = LEASE_PLAN_TELL,	[REAP_STATE_ENDED] = LEASE_PLAN_TELL,
		[REAP_STATE_TOLD] = LEASE_PLAN_WATCH,
	};

	(void)state;
	for (int i = 0; i < REAP_STATE_COUNT; i++)
		assert_int_equal(lease_plan_of((enum reap_state)i), plans[i]);
	assert_int_equal(lease_plan_of(REAP_STATE_COUNT), LEASE_PLAN_LEAVE);
}

/* A running lease was renewed for the last time a lease before it is due. */
static void test_a_workspace_expires_under_a_worker_only(void **state)
{
	static const struct {
		enum reap_state state;
		uint64_t due_ms, expires_ms;
		bool is_expired, is_forgiven;
	} cases[] = {
		{ REAP_STATE_RUNNING, 100000, 90000, true, false },  /* renewed when its life was over */
		{ REAP_STATE_RUNNING, 100000, 90001, false, true },  /* died a moment before */
		{ REAP_STATE_RUNNING, 100000, 500000, false, true }, /* died long before */
		{ REAP_STATE_REAPING, 100000, 90001, true, false },  /* judged when it was taken first; not again */
		{ REAP_STATE_ORPHAN, 100000, LEASE_NEVER_MS, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reap_lease lease = { .state = cases[i].state,
					    .due_ms = cases[i].due_ms,
					    .expires_ms = cases[i].expires_ms };

		assert_int_equal(lease_plan_is_expired(&lease, LEASE_MS, 200000), cases[i].is_expired);
		assert_true(lease.expires_ms == (cases[i].is_forgiven ? LEASE_NEVER_MS : cases[i].expires_ms));
	}
}

static void test_it_is_tried_again_until_attempts_or_time_are_used_up(void **state)
{
	(void)state;
	assert_int_equal(lease_plan_after_fence(false, 1, 3), REAP_VERB_ORPHAN);
	assert_int_equal(lease_plan_after_fence(false, 2, 3), REAP_VERB_ORPHAN);
	assert_int_equal(lease_plan_after_fence(false, 3, 3), REAP_VERB_ENDED);
	assert_int_equal(lease_plan_after_fence(false, 4, 3), REAP_VERB_ENDED);
	assert_int_equal(lease_plan_after_fence(true, 1, 3), REAP_VERB_ENDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plan_per_state),
		cmocka_unit_test(test_a_workspace_expires_under_a_worker_only),
		cmocka_unit_test(test_it_is_tried_again_until_attempts_or_time_are_used_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
