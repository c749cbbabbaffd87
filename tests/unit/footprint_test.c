/* What idle microVMs cost, remembered by shape. */
#include "worker/workspace/footprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void goes_up_at_once_and_comes_down_slowly(void **state)
{
	struct shape shape = { "base", 1, 256, 64 };
	struct footprints footprints = { 0 };

	(void)state;
	assert_int_equal(footprints_mib(&footprints, &shape), 0);
	footprints_add(&footprints, &shape, 20);
	assert_int_equal(footprints_mib(&footprints, &shape), 20);
	footprints_add(&footprints, &shape, 100);
	assert_int_equal(footprints_mib(&footprints, &shape), 100);
	footprints_add(&footprints, &shape, 20);
	assert_int_equal(footprints_mib(&footprints, &shape), 90);
	for (int i = 0; i < 60; i++)
		footprints_add(&footprints, &shape, 20);
	assert_int_equal(footprints_mib(&footprints, &shape), 20); /* all the way */
}

static void shapes_are_told_apart(void **state)
{
	const struct shape shapes[] = { { "base", 1, 256, 64 }, { "python", 1, 256, 64 }, { "base", 2, 256, 64 },
					{ "base", 1, 384, 64 }, { "base", 1, 256, 128 } };
	struct footprints footprints = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		footprints_add(&footprints, &shapes[i], 10 + i);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		assert_int_equal(footprints_mib(&footprints, &shapes[i]), 10 + i);
}

static void the_one_not_asked_for_longest_makes_room(void **state)
{
	struct footprints footprints = { 0 };
	struct shape shape = { "base", 1, 0, 64 };

	(void)state;
	for (uint32_t i = 1; i <= FOOTPRINT_SHAPES_MAX; i++) {
		shape.memory_mib = i;
		footprints_add(&footprints, &shape, i);
	}
	shape.memory_mib = 1;
	assert_int_equal(footprints_mib(&footprints, &shape), 1); /* it was asked for */
	shape.memory_mib = FOOTPRINT_SHAPES_MAX + 1;
	footprints_add(&footprints, &shape, 7);
	assert_int_equal(footprints_mib(&footprints, &shape), 7);
	shape.memory_mib = 1;
	assert_int_equal(footprints_mib(&footprints, &shape), 1);
	shape.memory_mib = 2;
	assert_int_equal(footprints_mib(&footprints, &shape), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(goes_up_at_once_and_comes_down_slowly),
					    cmocka_unit_test(shapes_are_told_apart),
					    cmocka_unit_test(the_one_not_asked_for_longest_makes_room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
