/* Admission counts promises: nothing is promised twice, and everything comes back. */
#include "worker/workspace/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct admission_limits limits = { .slots = 3, .memory_mib = 1000, .disk_mib = 640, .overhead_mib = 100,
						.cpus = 2, .largest_disk_mib = 512 };

static int set_up(void **state)
{
	*state = admission_new(&limits);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	admission_free(*state);
	return 0;
}

static struct task task_of(uint32_t cpus, uint32_t memory_mib, uint32_t disk_mib)
{
	return (struct task){ .cpus = cpus, .memory_mib = memory_mib, .disk_mib = disk_mib };
}

static void gives_each_slot_once(void **state)
{
	struct task task = task_of(1, 100, 100);
	struct reservation got[3];
	struct task_flaw flaw;
	bool is_seen[3] = { false };

	for (int i = 0; i < 3; i++) {
		assert_int_equal(admission_ask(*state, &task, &got[i], &flaw), ADMISSION_VERDICT_ADMITTED);
		assert_in_range(got[i].slot, 0, 2);
		assert_false(is_seen[got[i].slot]);
		is_seen[got[i].slot] = true;
	}
	assert_int_equal(admission_ask(*state, &task, &got[0], &flaw), ADMISSION_VERDICT_WAIT);
	admission_return(*state, &got[1]);
	assert_int_equal(admission_ask(*state, &task, &got[0], &flaw), ADMISSION_VERDICT_ADMITTED);
	assert_int_equal(got[0].slot, got[1].slot);
}

static void memory_and_disk_are_promised(void **state)
{
	struct task big = task_of(1, 800, 100), small = task_of(1, 1, 300);
	struct reservation first, second;
	struct task_flaw flaw;

	assert_int_equal(admission_ask(*state, &big, &first, &flaw), ADMISSION_VERDICT_ADMITTED);
	assert_int_equal(first.memory_mib, 900); /* the overhead is part of the promise */
	small.memory_mib = 1; /* 101 MiB with its overhead: one more than is left */
	assert_int_equal(admission_ask(*state, &small, &second, &flaw), ADMISSION_VERDICT_WAIT);
	admission_return(*state, &first);
	big.disk_mib = 257; /* disks are made in few sizes: this one takes 512 MiB */
	assert_int_equal(admission_ask(*state, &big, &first, &flaw), ADMISSION_VERDICT_ADMITTED);
	assert_int_equal(first.disk_mib, 512);
	big.memory_mib = 0;
	big.disk_mib = 129;
	assert_int_equal(admission_ask(*state, &big, &second, &flaw), ADMISSION_VERDICT_WAIT);
	big.disk_mib = 128;
	assert_int_equal(admission_ask(*state, &big, &second, &flaw), ADMISSION_VERDICT_ADMITTED);
}

static void names_what_is_impossible(void **state)
{
	struct task cases[] = { task_of(3, 100, 100), task_of(1, 901, 100), task_of(1, 100, 513) };
	struct task everything = task_of(2, 900, 512);
	const char *const fields[] = { "cpus", "memory_mib", "disk_mib" };
	struct reservation reservation;

	for (size_t i = 0; i < 3; i++) {
		struct task_flaw flaw = { 0 };

		assert_int_equal(admission_ask(*state, &cases[i], &reservation, &flaw), ADMISSION_VERDICT_IMPOSSIBLE);
		assert_string_equal(flaw.field, fields[i]);
	}
	assert_int_equal(admission_ask(*state, &everything, &reservation, &(struct task_flaw){ 0 }), ADMISSION_VERDICT_ADMITTED);
}

static void says_the_largest_disk_there_can_be(void **state)
{
	const struct admission_limits small = { .slots = 1, .memory_mib = 1000, .disk_mib = 500, .cpus = 1, .largest_disk_mib = 512 };
	struct admission *admission = admission_new(&small);
	struct task task = task_of(1, 100, 400);
	struct task_flaw flaw;

	(void)state;
	assert_false(admission_is_possible(admission, &task, &flaw)); /* it would take 512 MiB */
	assert_non_null(strstr(flaw.message, "at most 250 here"));
	task.disk_mib = 250;
	assert_true(admission_is_possible(admission, &task, &flaw));
	admission_free(admission);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gives_each_slot_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(memory_and_disk_are_promised, set_up, tear_down),
		cmocka_unit_test(says_the_largest_disk_there_can_be),
		cmocka_unit_test_setup_teardown(names_what_is_impossible, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
