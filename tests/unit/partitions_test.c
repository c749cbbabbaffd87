/* Epochs: what speaks of a partition that somebody else may have worked on is recognised. */
#include "worker/partitions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int set_up(void **state)
{
	*state = partitions_new();
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	partitions_free(*state);
	return 0;
}

static int64_t assign_one(struct partitions *partitions, int32_t id, int64_t committed, const char *metadata)
{
	int64_t start;

	partitions_suspend(partitions);
	partitions_begin(partitions);
	start = partitions_assign(partitions, id, committed, metadata, committed);
	partitions_settle(partitions);
	return start;
}

static void comes_back_as_it_was_left(void **state)
{
	struct partition *partition;
	uint64_t epoch;

	assert_int_equal(assign_one(*state, 7, 10, ""), 10);
	partition = partitions_find(*state, 7);
	assert_non_null(partition);
	epoch = partition->epoch;
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_int_equal(assign_one(*state, 7, 10, ""), 11); /* goes on behind what it holds */
	assert_non_null(partitions_find_epoch(*state, 7, epoch));
}

static void starts_afresh_after_a_stranger(void **state)
{
	uint64_t epoch;

	(void)assign_one(*state, 7, 10, "");
	epoch = partitions_find(*state, 7)->epoch;
	partitions_find(*state, 7)->next_received = 15;
	assert_int_equal(assign_one(*state, 7, 12, ""), 12);
	assert_null(partitions_find_epoch(*state, 7, epoch));
	epoch = partitions_find(*state, 7)->epoch;
	assert_int_equal(assign_one(*state, 7, 12, "foreign"), 12); /* the map alone tells, too */
	assert_null(partitions_find_epoch(*state, 7, epoch));
}

static void is_not_owned_when_not_named(void **state)
{
	uint64_t epoch;

	(void)assign_one(*state, 1, 0, "");
	epoch = partitions_find(*state, 1)->epoch;
	(void)assign_one(*state, 2, 0, "");
	assert_null(partitions_find(*state, 1));
	(void)assign_one(*state, 1, 0, "");
	assert_null(partitions_find_epoch(*state, 1, epoch)); /* it was somebody else's meanwhile */
}

static void what_is_in_hand_is_not_taken_twice(void **state)
{
	struct partition *partition;

	(void)assign_one(*state, 7, 10, "1:C"); /* 11 is done */
	partition = partitions_find(*state, 7);
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_receive(partition, 11), PARTITION_RECEIPT_AGAIN);
	assert_int_equal(partition_receive(partition, 12), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_AGAIN);
	assert_int_equal(partition_receive(partition, 12), PARTITION_RECEIPT_AGAIN);
	assert_int_equal(partition_receive(partition, 10 + OFFSETS_WINDOW), PARTITION_RECEIPT_NO_ROOM);
	assert_int_equal(partition_receive(partition, 9), PARTITION_RECEIPT_BELOW);
	assert_int_equal(partition_receive(partition, 13), PARTITION_RECEIPT_NEW);
}

static void a_commit_that_failed_leaves_no_mark(void **state)
{
	struct partition *partition;

	(void)assign_one(*state, 7, 10, "");
	partition = partitions_find(*state, 7);
	for (int64_t offset = 10; offset < 13; offset++)
		assert_int_equal(partition_receive(partition, offset), PARTITION_RECEIPT_NEW);
	partition_plan(partition, 10);
	partition_plan(partition, 12);
	assert_int_equal(partition_planned(partition)->committed, 11);
	assert_string_equal(partition->planned.metadata, "1:C");
	partition_end_plan(partition, false);
	assert_int_equal(partition->position.committed, 10);
	partition_plan(partition, 12); /* 10 was given up meanwhile */
	assert_int_equal(partition_planned(partition)->committed, 10);
	assert_string_equal(partition->planned.metadata, "1:E");
	partition_end_plan(partition, true);
	assert_int_equal(partition->position.committed, 10);
	assert_string_equal(partition->position.metadata, "1:E");
}

static void comes_back_with_a_commit_of_unknown_end(void **state)
{
	struct partition *partition;
	uint64_t epoch;

	(void)assign_one(*state, 7, 10, "");
	partition = partitions_find(*state, 7);
	epoch = partition->epoch;
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	partition_plan(partition, 10);
	assert_int_equal(partition_planned(partition)->committed, 11);
	assert_int_equal(assign_one(*state, 7, 10, ""), 11); /* it did not happen, or not yet */
	assert_int_equal(assign_one(*state, 7, 11, ""), 11); /* it did */
	assert_non_null(partitions_find_epoch(*state, 7, epoch));
	partition_end_plan(partition, false);
	assert_int_equal(assign_one(*state, 7, 11, ""), 11);
	assert_null(partitions_find_epoch(*state, 7, epoch));
}

static void suspension_ends_with_the_assignment(void **state)
{
	partitions_suspend(*state);
	assert_true(partitions_are_suspended(*state));
	(void)assign_one(*state, 1, 0, "");
	assert_false(partitions_are_suspended(*state));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back_as_it_was_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(starts_afresh_after_a_stranger, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_not_owned_when_not_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_in_hand_is_not_taken_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_commit_that_failed_leaves_no_mark, set_up, tear_down),
		cmocka_unit_test_setup_teardown(comes_back_with_a_commit_of_unknown_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(suspension_ends_with_the_assignment, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
