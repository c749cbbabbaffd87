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
	start = partitions_assign(partitions, "tasks", id, committed, metadata, committed);
	partitions_end_assignment(partitions);
	return start;
}

static void comes_back_as_it_was_left(void **state)
{
	struct partition *partition;
	uint64_t epoch;

	assert_int_equal(assign_one(*state, 7, 10, ""), 10);
	partition = partitions_find(*state, "tasks", 7);
	assert_non_null(partition);
	epoch = partition->epoch;
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_int_equal(assign_one(*state, 7, 10, ""), 11); /* goes on behind what it holds */
	assert_non_null(partitions_find_epoch(*state, "tasks", 7, epoch));
}

static void starts_afresh_after_a_stranger(void **state)
{
	uint64_t epoch;

	(void)assign_one(*state, 7, 10, "");
	epoch = partitions_find(*state, "tasks", 7)->epoch;
	partitions_find(*state, "tasks", 7)->next_received = 15;
	assert_int_equal(assign_one(*state, 7, 12, ""), 12);
	assert_null(partitions_find_epoch(*state, "tasks", 7, epoch));
	epoch = partitions_find(*state, "tasks", 7)->epoch;
	assert_int_equal(assign_one(*state, 7, 12, "foreign"), 12); /* the map alone tells, too */
	assert_null(partitions_find_epoch(*state, "tasks", 7, epoch));
}

static void is_not_owned_when_not_named(void **state)
{
	uint64_t epoch;

	(void)assign_one(*state, 1, 0, "");
	epoch = partitions_find(*state, "tasks", 1)->epoch;
	(void)assign_one(*state, 2, 0, "");
	assert_null(partitions_find(*state, "tasks", 1));
	(void)assign_one(*state, 1, 0, "");
	assert_null(partitions_find_epoch(*state, "tasks", 1, epoch)); /* it was somebody else's meanwhile */
}

/* The same number in another topic is another partition. */
static void topics_have_partitions_of_their_own(void **state)
{
	struct partition *tasks, *urgent;

	partitions_begin(*state);
	assert_int_equal(partitions_assign(*state, "tasks", 7, 10, "", 10), 10);
	assert_int_equal(partitions_assign(*state, "urgent", 7, 20, "1:C", 20), 20);
	partitions_end_assignment(*state);
	tasks = partitions_find(*state, "tasks", 7);
	urgent = partitions_find(*state, "urgent", 7);
	assert_ptr_not_equal(tasks, urgent);
	assert_null(partitions_find(*state, "other", 7));
	assert_null(partitions_find_epoch(*state, "urgent", 7, tasks->epoch));
	assert_int_equal(partition_receive(tasks, 10), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_receive(urgent, 20), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_receive(urgent, 21), PARTITION_RECEIPT_AGAIN); /* its own map says so */
	partition_plan(urgent, 20);
	assert_int_equal(partition_planned(urgent)->committed, 22);
	assert_false(tasks->has_plan);
	partitions_begin(*state);
	assert_int_equal(partitions_assign(*state, "urgent", 7, 20, "1:C", 20), 22);
	partitions_end_assignment(*state);
	assert_null(partitions_find(*state, "tasks", 7)); /* not named: it moved, and its namesake did not */
	assert_ptr_equal(partitions_find(*state, "urgent", 7), urgent);
}

static void what_is_in_hand_is_not_taken_twice(void **state)
{
	struct partition *partition;

	(void)assign_one(*state, 7, 10, "1:C"); /* 11 is done */
	partition = partitions_find(*state, "tasks", 7);
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
	partition = partitions_find(*state, "tasks", 7);
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
	partition = partitions_find(*state, "tasks", 7);
	epoch = partition->epoch;
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	partition_plan(partition, 10);
	assert_int_equal(partition_planned(partition)->committed, 11);
	assert_int_equal(assign_one(*state, 7, 10, ""), 11); /* it did not happen, or not yet */
	assert_int_equal(assign_one(*state, 7, 11, ""), 11); /* it did */
	assert_non_null(partitions_find_epoch(*state, "tasks", 7, epoch));
	partition_end_plan(partition, false);
	assert_int_equal(assign_one(*state, 7, 11, ""), 11);
	assert_null(partitions_find_epoch(*state, "tasks", 7, epoch));
}

static void suspension_ends_with_the_assignment(void **state)
{
	partitions_suspend(*state);
	assert_true(partitions_are_suspended(*state));
	(void)assign_one(*state, 1, 0, "");
	assert_false(partitions_are_suspended(*state));
}

static struct partition *place_at(struct partitions *partitions, int64_t committed, const char *metadata)
{
	(void)assign_one(partitions, 7, committed, metadata);
	return partitions_find(partitions, "tasks", 7);
}

static void records_below_the_logs_start_are_lost(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_true(partition_is_unreadable(partition, 10));
	assert_int_equal(partition_find_place(partition, 15, &loss), PARTITION_PLACE_LOSS);
	assert_int_equal(loss.from, 10);
	assert_int_equal(loss.to, 15);
	assert_int_equal(loss.first, 10);
	assert_int_equal(loss.last, 14);
	assert_int_equal(loss.records, 5);
	assert_int_equal(partition_find_place(partition, 15, &loss), PARTITION_PLACE_LATER); /* it is being told */
	partition_range_is_done(partition, loss.from, loss.to);
	assert_int_equal(partition_find_place(partition, 15, &loss), PARTITION_PLACE_FOUND);
	assert_int_equal(partition_receive(partition, 15), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_find_place(partition, 18, &loss), PARTITION_PLACE_FOUND); /* an ordinary gap */
}

/* While the first record that is left is looked for, that one is deleted, too. */
static void the_logs_start_moves_on(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_true(partition_is_unreadable(partition, 10));
	assert_ptr_equal(place_at(*state, 10, ""), partition);
	assert_true(partition_is_unreadable(partition, 15));
	assert_int_equal(partition_find_place(partition, 20, &loss), PARTITION_PLACE_LOSS);
	assert_int_equal(loss.first, 10);
	assert_int_equal(loss.records, 10);
	partition_range_is_done(partition, loss.from, loss.to);
	assert_ptr_equal(place_at(*state, 20, ""), partition); /* somebody's commit, or ours that was not told yet */
	assert_int_equal(partition_find_place(partition, 20, &loss), PARTITION_PLACE_FOUND);
}

/* The map says that 11 and 13 are done: "1:" and the bits 1 and 3. */
static void what_the_map_has_is_not_lost(void **state)
{
	struct partition *partition = place_at(*state, 10, "1:K");
	struct partition_loss loss;

	assert_true(partition_is_unreadable(partition, 10));
	assert_int_equal(partition_find_place(partition, 14, &loss), PARTITION_PLACE_LOSS);
	assert_int_equal(loss.first, 10);
	assert_int_equal(loss.last, 12);
	assert_int_equal(loss.records, 2);
	partition_range_is_done(partition, loss.from, loss.to);
	assert_int_equal(offsets_next(partition->offsets), 14);
}

static void nothing_is_lost_of_what_is_done(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_true(partition_is_unreadable(partition, 10));
	assert_int_equal(partition_find_place(partition, 10, &loss), PARTITION_PLACE_FOUND);
	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_false(partition_is_unreadable(partition, 10)); /* old news: it has been read since */
	assert_int_equal(partition_find_place(partition, 12, &loss), PARTITION_PLACE_FOUND);
}

/* A commit of what runs beside it must not move the group over what is not told yet. */
static void what_is_in_hand_is_not_lost_and_moves_nothing(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_int_equal(partition_receive(partition, 11), PARTITION_RECEIPT_NEW);
	assert_true(partition_is_unreadable(partition, 13)); /* 12 was a marker */
	assert_int_equal(partition_find_place(partition, 20, &loss), PARTITION_PLACE_LOSS);
	assert_int_equal(loss.first, 13);
	assert_int_equal(loss.last, 19);
	partition_plan(partition, 10);
	partition_plan(partition, 11);
	assert_int_equal(partition_planned(partition)->committed, 12);
	partition_plan_range(partition, loss.from, loss.to);
	assert_int_equal(partition_planned(partition)->committed, 20);
	partition_end_plan(partition, false);
	partition_range_is_done(partition, loss.from, loss.to);
	assert_int_equal(offsets_next(partition->offsets), 10); /* still in hand */
	assert_int_equal(partition_receive(partition, 20), PARTITION_RECEIPT_NEW);
}

static void a_loss_wider_than_the_map_waits_for_what_is_open(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	assert_true(partition_is_unreadable(partition, 11));
	assert_int_equal(partition_find_place(partition, 1000000, &loss), PARTITION_PLACE_LATER);
	offsets_done(partition->offsets, 10);
	assert_int_equal(partition_find_place(partition, 1000000, &loss), PARTITION_PLACE_LOSS);
	assert_int_equal(loss.records, 1000000 - 11);
}

static void a_log_that_starts_over_is_no_loss(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	struct partition_loss loss;

	assert_true(partition_is_unreadable(partition, 10));
	assert_int_equal(partition_find_place(partition, 3, &loss), PARTITION_PLACE_BELOW);
}

static void the_end_of_the_log_is_done_when_nothing_is_open(void **state)
{
	struct partition *partition = place_at(*state, 10, "");
	int64_t from, to;

	assert_int_equal(partition_receive(partition, 10), PARTITION_RECEIPT_NEW);
	partition->log_end = 12;
	assert_false(partition_has_tail(partition, &from, &to)); /* 10 runs */
	offsets_done(partition->offsets, 10);
	assert_true(partition_has_tail(partition, &from, &to));
	assert_int_equal(from, 11);
	assert_int_equal(to, 12);
	assert_int_equal(partition_receive(partition, 12), PARTITION_RECEIPT_NEW);
	assert_false(partition_has_tail(partition, &from, &to)); /* an end that was seen before the last record says nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back_as_it_was_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(starts_afresh_after_a_stranger, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_not_owned_when_not_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(topics_have_partitions_of_their_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_in_hand_is_not_taken_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_commit_that_failed_leaves_no_mark, set_up, tear_down),
		cmocka_unit_test_setup_teardown(comes_back_with_a_commit_of_unknown_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(records_below_the_logs_start_are_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_logs_start_moves_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_map_has_is_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_lost_of_what_is_done, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_in_hand_is_not_lost_and_moves_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_loss_wider_than_the_map_waits_for_what_is_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_log_that_starts_over_is_no_loss, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_of_the_log_is_done_when_nothing_is_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(suspension_ends_with_the_assignment, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
