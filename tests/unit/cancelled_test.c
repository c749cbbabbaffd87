/* What was cancelled before its task came: found by id and time, and forgotten in order. */
#include "worker/cancelled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static int set_up(void **state)
{
	*state = cancelled_new();
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	cancelled_free(*state);
	return 0;
}

static void test_only_older_tasks(void **state)
{
	assert_false(cancelled_has(*state, "a", 0));
	cancelled_add(*state, "a", 1000);
	assert_true(cancelled_has(*state, "a", 1000));
	assert_true(cancelled_has(*state, "a", 1));
	assert_false(cancelled_has(*state, "a", 1001)); /* the id, used again */
	assert_false(cancelled_has(*state, "b", 1));
	cancelled_add(*state, "a", 5000);
	assert_true(cancelled_has(*state, "a", 4000));
	cancelled_add(*state, "a", 2000); /* told late */
	assert_true(cancelled_has(*state, "a", 4000));
}

static void add_numbered(struct cancelled *cancelled, unsigned from, unsigned to)
{
	char id[16];

	for (unsigned i = from; i < to; i++) {
		(void)snprintf(id, sizeof(id), "t-%u", i);
		cancelled_add(cancelled, id, 1000 + i);
	}
}

static unsigned count_numbered(struct cancelled *cancelled, unsigned from, unsigned to)
{
	unsigned n = 0;
	char id[16];

	for (unsigned i = from; i < to; i++) {
		(void)snprintf(id, sizeof(id), "t-%u", i);
		n += cancelled_has(cancelled, id, 1000 + i);
	}
	return n;
}

static void test_a_whole_batch(void **state)
{
	add_numbered(*state, 0, 100000);
	assert_int_equal(count_numbered(*state, 0, 100000), 100000);
}

static void test_the_oldest_are_forgotten_first(void **state)
{
	const unsigned more = CANCELLED_MAX + CANCELLED_MAX / 2;

	add_numbered(*state, 0, CANCELLED_MAX);
	assert_int_equal(count_numbered(*state, 0, CANCELLED_MAX), CANCELLED_MAX);
	add_numbered(*state, CANCELLED_MAX, more);
	assert_int_equal(count_numbered(*state, 0, more - CANCELLED_MAX), 0);
	assert_int_equal(count_numbered(*state, more - CANCELLED_MAX, more), CANCELLED_MAX);
	for (unsigned i = 0; i < 3 * CANCELLED_MAX; i++) /* one id, again and again, takes one place */
		cancelled_add(*state, "same", i + 1);
	assert_int_equal(count_numbered(*state, more - CANCELLED_MAX, more), CANCELLED_MAX - 1);
	assert_true(cancelled_has(*state, "same", 3 * CANCELLED_MAX));
	assert_false(cancelled_has(*state, "same", 3 * CANCELLED_MAX + 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_older_tasks),
		TEST(a_whole_batch),
		TEST(the_oldest_are_forgotten_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
