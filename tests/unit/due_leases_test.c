#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reaper/due_leases.h"

#define NOW_MS	1000000
#define MONO_MS 5000

struct fixture {
	struct due_leases due;
	struct reap_lease leases[REAP_SCAN_MAX], out[REAP_BATCH_MAX];
	struct reap_scan scan;
	size_t n;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->due = (struct due_leases){ .host = "here", .lease_ms = 10000, .grace_ms = 5000 };
	fixture->scan = (struct reap_scan){ .now_ms = NOW_MS, .n_all = 100, .leases = fixture->leases };
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static struct reap_lease *add(struct fixture *fixture, enum reap_state lease_state, const char *host, uint64_t late_ms)
{
	struct reap_lease *lease = &fixture->leases[fixture->scan.n++];

	fixture->scan.n_due++;
	*lease = (struct reap_lease){ .state = lease_state, .token = 7, .due_ms = NOW_MS - late_ms };
	(void)snprintf(lease->id, sizeof(lease->id), "id-%zu", fixture->scan.n);
	(void)snprintf(lease->host, sizeof(lease->host), "%s", host);
	return lease;
}

static enum due_verdict make(struct fixture *fixture, uint64_t mono_ms)
{
	return due_leases_select(&fixture->due, &fixture->scan, mono_ms, fixture->out, &fixture->n);
}

static void test_two_scans_must_agree(void **state)
{
	struct fixture *fixture = *state;
	struct reap_lease *lease = add(fixture, REAP_STATE_RUNNING, "here", 6000);

	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_NONE);
	lease->token = 8; /* claimed again in between: another lease */
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_NONE);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_ACT);
	assert_int_equal(fixture->n, 1);
	assert_string_equal(fixture->out[0].id, "id-1");
	due_leases_reset(&fixture->due);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_NONE);
}

static void test_other_hosts_come_later(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, REAP_STATE_RUNNING, "there", 24999);
	add(fixture, REAP_STATE_REAPING, "there", 25000);
	add(fixture, REAP_STATE_ORPHAN, "there", 6000); /* has no objects any more */
	(void)make(fixture, MONO_MS);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_ACT);
	assert_int_equal(fixture->n, 2);
	assert_string_equal(fixture->out[0].id, "id-2");
	assert_string_equal(fixture->out[1].id, "id-3");
}

static void test_mass_is_braked_for_a_lease(void **state)
{
	struct fixture *fixture = *state;

	fixture->scan.n_all = 17;
	for (int i = 0; i < 9; i++)
		add(fixture, REAP_STATE_RUNNING, "here", 6000);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_BRAKED);
	assert_int_equal(make(fixture, MONO_MS + 9999), DUE_VERDICT_WAIT);
	assert_int_equal(make(fixture, MONO_MS + 10000), DUE_VERDICT_ACT);
	assert_int_equal(fixture->n, 9);
	fixture->scan.n_all = 18; /* half is no mass: the brake is off, and a later mass is a new one */
	assert_int_equal(make(fixture, MONO_MS + 10001), DUE_VERDICT_ACT);
	fixture->scan.n_all = 17;
	assert_int_equal(make(fixture, MONO_MS + 10002), DUE_VERDICT_BRAKED);
}

static void test_a_few_are_no_mass(void **state)
{
	struct fixture *fixture = *state;

	fixture->scan.n_all = 8;
	for (int i = 0; i < 8; i++)
		add(fixture, REAP_STATE_RUNNING, "here", 6000);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_NONE);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_ACT);
}

/* The scan shows REAP_SCAN_MAX at most: what it does not show counts. */
static void test_mass_beyond_the_scan(void **state)
{
	struct fixture *fixture = *state;

	fixture->scan.n_all = 1000;
	add(fixture, REAP_STATE_RUNNING, "here", 6000);
	fixture->scan.n_due = 501;
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_BRAKED);
	fixture->scan.n_due = 500;
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_ACT);
}

static void test_a_batch_is_bounded(void **state)
{
	struct fixture *fixture = *state;

	fixture->scan.n_all = 1000;
	for (int i = 0; i < REAP_SCAN_MAX; i++)
		add(fixture, REAP_STATE_RUNNING, "here", 6000);
	(void)make(fixture, MONO_MS);
	assert_int_equal(make(fixture, MONO_MS), DUE_VERDICT_ACT);
	assert_int_equal(fixture->n, REAP_BATCH_MAX);
}

static void test_redis_that_just_came_is_left_alone(void **state)
{
	const struct due_leases *due = &((struct fixture *)*state)->due;

	assert_int_equal(due_leases_quiet_ms(due, 0, false), 15000); /* it has just started: a lease and the grace */
	assert_int_equal(due_leases_quiet_ms(due, 14000, false), 1000);
	assert_int_equal(due_leases_quiet_ms(due, 15000, false), 0); /* we have just started, and it is old */
	assert_int_equal(due_leases_quiet_ms(due, 900000, false), 0);
	assert_int_equal(due_leases_quiet_ms(due, 900000, true), 10000); /* it was away: workers must renew first */
	assert_int_equal(due_leases_quiet_ms(due, 14000, true), 10000);
	assert_int_equal(due_leases_quiet_ms(due, 0, true), 15000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(two_scans_must_agree),
					    TEST(other_hosts_come_later),
					    TEST(mass_is_braked_for_a_lease),
					    TEST(a_few_are_no_mass),
					    TEST(mass_beyond_the_scan),
					    TEST(a_batch_is_bounded),
					    TEST(redis_that_just_came_is_left_alone) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
