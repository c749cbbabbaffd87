/* What the pool makes, when, whom it gives it to, and what it gives up for whom. */
#include "tests/support/pool_fixture.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

#define GUARD_SLACK_MS 15000 /* of stage_vmm.c */

static void test_a_hit(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	uint64_t before_boot_ms, deadline_boot_ms;
	struct pooled *pooled;
	char vm_id[IDENT_ID_MAX + 1];

	assert_null(pool_take(fixture->pool, &shape));
	tick(fixture);
	assert_int_equal(fixture->n_machines, 0); /* nobody was admitted without one */
	fill(fixture, &shape, 1);
	assert_int_equal(pool_count(fixture->pool).ready, 1);
	assert_int_equal(admission_count(fixture->admission).active, 0);
	pooled = pool_take(fixture->pool, &shape);
	assert_non_null(pooled);
	assert_int_equal(admission_count(fixture->admission).active, 1);
	assert_null(pool_take(fixture->pool, &shape)); /* never two jobs the same one */
	memcpy(vm_id, pooled_workspace(pooled)->vm_id, sizeof(vm_id));
	before_boot_ms = clock_boot_ms();
	assert_non_null(hand_over(fixture, pooled));
	assert_string_equal(fixture->mine->vm_id, vm_id);
	assert_int_equal(fixture->n_ready, 0); /* never from inside the call */
	turn(fixture);
	assert_int_equal(fixture->n_ready, 1);
	deadline_boot_ms = told_deadline(fixture, fixture->mine);
	assert_in_range(deadline_boot_ms, before_boot_ms + TTL_MS, clock_boot_ms() + TTL_MS + GUARD_SLACK_MS);
	assert_in_range(fixture->mine->ttl_ends_mono_ms, clock_mono_ms() + TTL_MS - 10000, clock_mono_ms() + TTL_MS);
	assert_false(held_vm_is_sure(&fixture->mine->held, clock_mono_ms())); /* its lease says whose it is */
	tick(fixture);
	end_mine(fixture);
	assert_int_equal(fixture->n_gone, 1);
	assert_int_equal(pool_count(fixture->pool).hits, 1);
	assert_int_equal(pool_count(fixture->pool).misses, 1);
}

static void test_another_shape_is_a_miss(void **state)
{
	const struct shape shape = shape_of("base", 128), others[] = { shape_of("base", 256), shape_of("python", 128) };
	struct fixture *fixture = *state;

	fill(fixture, &shape, 1);
	assert_null(pool_take(fixture->pool, &others[0]));
	assert_null(pool_take(fixture->pool, &others[1]));
}

/* It would have another deadline than its task's. */
static void test_a_guard_that_cannot_be_told(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	struct pooled *pooled;

	fill(fixture, &shape, 1);
	pooled = pool_take(fixture->pool, &shape);
	close_fd(&fixture->machines[0].guard_fd);
	assert_null(hand_over(fixture, pooled));
	turn(fixture);
	assert_int_equal(fixture->n_ready, 0);
	assert_null(fixture->machines[0].workspace);
	assert_int_equal(pool_count(fixture->pool).lost, 1);
}

static void test_one_that_breaks_while_it_is_lent(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	struct pooled *pooled;
	struct err err;

	fill(fixture, &shape, 1);
	pooled = pool_take(fixture->pool, &shape);
	(void)err_set(&err, ERR_BUSY, 0, "it broke");
	workspace_fault(pooled_workspace(pooled), "", &err);
	turn(fixture);
	assert_int_equal(pool_count(fixture->pool).lost, 0); /* the job holds it, until it asks */
	assert_null(hand_over(fixture, pooled));
	turn(fixture);
	assert_int_equal(pool_count(fixture->pool).lost, 1);
	assert_int_equal(pool_count(fixture->pool).ready + pool_count(fixture->pool).ending, 0);
}

static void test_given_back(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	struct pooled *pooled;

	fill(fixture, &shape, 1);
	pooled = pool_take(fixture->pool, &shape);
	pool_give_back(fixture->pool, pooled, false); /* its claim was refused: no lease names it */
	assert_int_equal(pool_count(fixture->pool).ready, 1);
	assert_int_equal(admission_count(fixture->admission).active, 0);
	pooled = pool_take(fixture->pool, &shape);
	assert_non_null(pooled);
	pool_give_back(fixture->pool, pooled, true);
	turn(fixture);
	assert_null(fixture->machines[0].workspace);
	assert_null(pool_take(fixture->pool, &shape));
}

static void test_no_more_than_may_be(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);

	fixture->is_slow = true;
	fill(fixture, &shape, 20);
	assert_int_equal(pool_count(fixture->pool).making, POOL_MAKING_MAX);
	fixture->is_slow = false;
	for (size_t i = 0; i < fixture->n_machines; i++)
		workspace_stage_is_ready(fixture->machines[i].workspace, WORKSPACE_STAGE_VMM);
	for (int i = 0; i < 20; i++)
		tick(fixture);
	assert_int_equal(pool_count(fixture->pool).ready, 8); /* max */
	assert_int_equal(fixture->n_machines, 8);
}

static void test_its_budget(void **state)
{
	const struct shape shape = shape_of("base", 156);

	(void)tear_down(state);
	*state = fixture_new(8, 3 * 256 + 255);
	fill(*state, &shape, 8);
	assert_int_equal(pool_count(((struct fixture *)*state)->pool).ready, 3);
}

static void test_what_breaks_is_not_made_again_at_once(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);

	fixture->is_faulty = true;
	fill(fixture, &shape, 5);
	assert_true(fixture->n_machines <= POOL_MAKING_MAX);
	assert_int_equal(pool_count(fixture->pool).failed, fixture->n_machines);
	tick_at(fixture, clock_mono_ms() + 10000);
	assert_true(fixture->n_machines > POOL_MAKING_MAX);
}

static void test_age(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	uint64_t begun_mono_ms = clock_mono_ms();

	fill(fixture, &shape, 1);
	tick_at(fixture, begun_mono_ms + 50000);
	assert_non_null(fixture->machines[0].workspace);
	fixture->machines[0].workspace->held.sure_until_mono_ms += AGE_MS;
	tick_at(fixture, clock_mono_ms() + AGE_MS);
	assert_null(fixture->machines[0].workspace);
	assert_int_equal(pool_count(fixture->pool).expired, 1);
}

/* Nobody asked for it any more, but its age is not over. */
static void test_not_wanted_any_more(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);

	fill(fixture, &shape, 1);
	tick_at(fixture, clock_mono_ms() + 61000);
	assert_null(fixture->machines[0].workspace);
	assert_int_equal(fixture->n_machines, 1);
}

static void test_one_that_others_may_think_is_nobodys(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);

	fill(fixture, &shape, 1);
	fixture->machines[0].workspace->held.sure_until_mono_ms = clock_mono_ms() + 500;
	assert_null(pool_take(fixture->pool, &shape));
	tick(fixture);
	assert_null(fixture->machines[0].workspace);
}

static void ask(struct fixture *fixture, const struct shape *shape, struct reservation *ret, enum admission_verdict expected)
{
	struct task_flaw flaw;

	assert_int_equal(admission_ask(fixture->admission, shape, ret, &flaw), expected);
}

/* 4096: idle ones count with their promise here, for nobody has measured them. */
static void test_giving_way(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 400), recent = shape_of("python", 400), large = shape_of("base", 3300);
	struct reservation reservation;

	fill(fixture, &shape, 1);
	usleep(2000);
	fill(fixture, &recent, 1);
	ask(fixture, &large, &reservation, ADMISSION_VERDICT_WAIT);
	pool_make_room(fixture->pool, &large);
	pool_make_room(fixture->pool, &large); /* asked again before it is gone: no other one goes for it */
	turn(fixture);
	assert_null(fixture->machines[0].workspace); /* asked for least recently */
	assert_non_null(fixture->machines[1].workspace);
	assert_int_equal(fixture->n_rooms, 1);
	assert_int_equal(pool_count(fixture->pool).evicted, 1);
	ask(fixture, &large, &reservation, ADMISSION_VERDICT_ADMITTED);
	admission_return(fixture->admission, &reservation);
}

/* No room is made where it would be of no use: the slots are taken, or what runs leaves too little. */
static void test_not_for_nothing(void **state)
{
	const struct shape shape = shape_of("base", 400), small = shape_of("small", 64), large = shape_of("large", 3900);
	struct fixture *fixture = *state;
	struct reservation running[4];

	fill(fixture, &shape, 1);
	ask(fixture, &small, &running[0], ADMISSION_VERDICT_ADMITTED);
	pool_make_room(fixture->pool, &large);
	turn(fixture);
	assert_non_null(fixture->machines[0].workspace);
	for (int i = 1; i < 4; i++)
		ask(fixture, &small, &running[i], ADMISSION_VERDICT_ADMITTED);
	pool_make_room(fixture->pool, &small);
	assert_null(pool_take(fixture->pool, &shape)); /* nor may it run now */
	turn(fixture);
	assert_non_null(fixture->machines[0].workspace);
	for (int i = 0; i < 4; i++)
		admission_return(fixture->admission, &running[i]);
	assert_int_equal(pool_count(fixture->pool).evicted, 0);
}

static void test_pressure(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);

	fill(fixture, &shape, 3);
	admission_set_pressed(fixture->admission, true);
	tick(fixture);
	tick(fixture);
	assert_int_equal(pool_count(fixture->pool).ready, 1);
	assert_int_equal(fixture->n_machines, 3);
	admission_set_pressed(fixture->admission, false);
	tick(fixture);
	assert_int_equal(pool_count(fixture->pool).ready, 3);
}

static void test_drain(void **state)
{
	struct fixture *fixture = *state;
	const struct shape shape = shape_of("base", 128);
	struct pooled *pooled;

	fill(fixture, &shape, 2);
	pooled = pool_take(fixture->pool, &shape);
	pool_drain(fixture->pool);
	pool_drain(fixture->pool);
	turn(fixture);
	assert_int_equal(pool_count(fixture->pool).ready + pool_count(fixture->pool).ending, 0);
	assert_non_null(hand_over(fixture, pooled)); /* its job is let run to its end */
	fill(fixture, &shape, 2);
	assert_int_equal(fixture->n_machines, 2);
	assert_null(pool_take(fixture->pool, &shape));
}

static void test_no_pool(void **state)
{
	const struct shape shape = shape_of("base", 128);

	(void)state;
	assert_null(pool_take(NULL, &shape));
	pool_miss(NULL, &shape);
	pool_make_room(NULL, &shape);
	pool_tick(NULL, 1);
	pool_drain(NULL);
	pool_free(NULL);
	assert_int_equal(pool_count(NULL).ready, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hit),
		TEST(another_shape_is_a_miss),
		TEST(a_guard_that_cannot_be_told),
		TEST(one_that_breaks_while_it_is_lent),
		TEST(given_back),
		TEST(no_more_than_may_be),
		TEST(its_budget),
		TEST(what_breaks_is_not_made_again_at_once),
		TEST(age),
		TEST(not_wanted_any_more),
		TEST(one_that_others_may_think_is_nobodys),
		TEST(giving_way),
		TEST(not_for_nothing),
		TEST(pressure),
		TEST(drain),
		cmocka_unit_test(test_no_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
