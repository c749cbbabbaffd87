#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "worker/pool_demand.h"

#define NOW_MS 1000000u

static struct pool_demand demand;

static struct shape shape_of(const char *image)
{
	return (struct shape){ .image = image, .cpus = 1, .memory_mib = 128, .disk_mib = 64 };
}

static int set_up(void **state)
{
	(void)state;
	memset(&demand, 0, sizeof(demand));
	return 0;
}

static void add(const char *image, unsigned n, uint64_t now_ms)
{
	const struct shape shape = shape_of(image);

	while (n--)
		pool_demand_add(&demand, &shape, now_ms);
}

static uint32_t wanted(const char *image, uint64_t make_ms, uint64_t now_ms)
{
	const struct shape shape = shape_of(image);
	struct pool_row *row = pool_demand_find(&demand, &shape);

	if (!row)
		return 0;
	pool_demand_made(row, make_ms);
	return pool_demand_wanted(row, now_ms);
}

static void test_nobody_asked(void **state)
{
	(void)state;
	assert_int_equal(wanted("a", 100, NOW_MS), 0);
	add("b", 1, NOW_MS);
	assert_int_equal(wanted("a", 100, NOW_MS), 0);
	assert_int_equal(wanted("b", 100, NOW_MS), 1);
}

static void test_as_many_as_come_while_one_is_made(void **state)
{
	(void)state;
	for (uint64_t second = 0; second < 10; second++)
		add("a", 4, NOW_MS + 1000 * second);
	assert_int_equal(wanted("a", 100, NOW_MS + 9000), 4);
	assert_int_equal(wanted("a", 1500, NOW_MS + 9000), 8);
	assert_int_equal(wanted("a", 2900, NOW_MS + 9000), 12);
	assert_int_equal(wanted("a", 3600000, NOW_MS + 9000), 40); /* all of the window, and no more */
}

/* One now and then is one, however long it takes to make it. */
static void test_rare_ones(void **state)
{
	(void)state;
	add("a", 1, NOW_MS);
	add("a", 1, NOW_MS + 10000);
	add("a", 1, NOW_MS + 20000);
	assert_int_equal(wanted("a", 3000, NOW_MS + 20000), 1);
}

static void test_a_burst_is_remembered_for_the_window(void **state)
{
	const uint64_t window_ms = 1000 * POOL_DEMAND_SECONDS;

	(void)state;
	add("a", 7, NOW_MS);
	add("a", 1, NOW_MS + 30000);
	assert_int_equal(wanted("a", 100, NOW_MS + window_ms - 1000), 7);
	assert_int_equal(wanted("a", 100, NOW_MS + window_ms), 1);
	assert_int_equal(wanted("a", 100, NOW_MS + 2 * window_ms), 0);
	add("a", 2, NOW_MS + 1000 * window_ms);
	assert_int_equal(wanted("a", 100, NOW_MS + 1000 * window_ms), 2);
}

static void test_too_many_to_count(void **state)
{
	(void)state;
	add("a", 70000, NOW_MS);
	assert_int_equal(wanted("a", 100, NOW_MS), UINT16_MAX);
}

/* A sender may choose as many as it likes. */
static void test_shapes_displace_the_one_that_was_asked_for_least_recently(void **state)
{
	char image[16];

	(void)state;
	for (unsigned i = 0; i <= POOL_SHAPES_MAX; i++) {
		(void)snprintf(image, sizeof(image), "image-%u", i);
		add(image, 1, NOW_MS + i);
		add("image-0", 1, NOW_MS + i);
	}
	assert_true(wanted("image-0", 100, NOW_MS + 100) > 0);
	assert_int_equal(wanted("image-1", 100, NOW_MS + 100), 0);
	assert_int_equal(wanted("image-2", 100, NOW_MS + 100), 1);
	(void)snprintf(image, sizeof(image), "image-%u", POOL_SHAPES_MAX);
	assert_int_equal(wanted(image, 100, NOW_MS + 100), 1);
}

static void test_pauses_grow_end_and_are_forgotten(void **state)
{
	const struct shape shape = shape_of("a");
	uint64_t now_ms = NOW_MS, last_ms = 0;
	struct pool_row *row;

	(void)state;
	add("a", 1, now_ms);
	row = pool_demand_find(&demand, &shape);
	assert_true(pool_demand_may_make(row, now_ms));
	for (int i = 0; i < 10; i++) {
		uint64_t pause_ms = 0;

		pool_demand_failed(row, now_ms);
		while (!pool_demand_may_make(row, now_ms + pause_ms))
			pause_ms += 500;
		assert_true(pause_ms >= last_ms && pause_ms >= 1000 && pause_ms <= 64000);
		last_ms = pause_ms;
		now_ms += pause_ms;
	}
	assert_int_equal(last_ms, 64000);
	pool_demand_made(row, 100);
	pool_demand_failed(row, now_ms);
	assert_true(pool_demand_may_make(row, now_ms + 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nobody_asked, set_up),
		cmocka_unit_test_setup(test_as_many_as_come_while_one_is_made, set_up),
		cmocka_unit_test_setup(test_rare_ones, set_up),
		cmocka_unit_test_setup(test_a_burst_is_remembered_for_the_window, set_up),
		cmocka_unit_test_setup(test_too_many_to_count, set_up),
		cmocka_unit_test_setup(test_shapes_displace_the_one_that_was_asked_for_least_recently, set_up),
		cmocka_unit_test_setup(test_pauses_grow_end_and_are_forgotten, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
