/* Announced before it is told, told once, left to workers that are there: against the ledger of one partition. */
#include "tests/unit/unit.h"

#include <string.h>

#include "reaper/tell_decision.h"

#define OFFSET 7

static struct ledger_page page;
static struct kafka_item item;

static int set_up(void **state)
{
	(void)state;
	page = (struct ledger_page){ .partition = 0 };
	item = (struct kafka_item){ .lease = { .offset = OFFSET, .attempt = 1 } };
	return 0;
}

static void put(int64_t offset, enum ledger_entry entry)
{
	assert_int_equal(ledger_put(&page.ledger, offset, entry), 0);
}

static void test_an_announcement_is_entered(void **state)
{
	(void)state;
	assert_int_equal(tell_decide_announce(&page, &item, false), KAFKA_VERDICT_NOT_TOLD);
	assert_int_equal(ledger_find(&page.ledger, OFFSET), LEDGER_ENTRY_ANNOUNCED);
	assert_true(page.is_touched);
	assert_int_equal(tell_decide_announce(&page, &item, false), KAFKA_VERDICT_NOT_TOLD); /* a try after an abort */
	assert_int_equal(page.ledger.n, 1);
}

static void test_what_workers_will_come_to_is_not_announced(void **state)
{
	(void)state;
	assert_int_equal(tell_decide_announce(&page, &item, true), KAFKA_VERDICT_HAS_WORKERS);
	assert_int_equal(page.ledger.n, 0);
	assert_false(page.is_touched);
}

static void test_what_was_told_is_told(void **state)
{
	(void)state;
	put(OFFSET, LEDGER_ENTRY_TOLD);
	assert_true(tell_decide_is_told(&page, &item));
	assert_int_equal(tell_decide_announce(&page, &item, false), KAFKA_VERDICT_TOLD);
	assert_int_equal(tell_decide_announce(&page, &item, true), KAFKA_VERDICT_TOLD);
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_TOLD);
	item.is_withdrawn = true;
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_TOLD);
	assert_false(page.is_touched);
}

static void test_a_full_ledger_takes_no_more(void **state)
{
	(void)state;
	for (int64_t i = 0; i < LEDGER_MAX; i++)
		put(1000 + i, LEDGER_ENTRY_TOLD);
	assert_int_equal(tell_decide_announce(&page, &item, false), KAFKA_VERDICT_FAILED);
	assert_int_equal(ledger_find(&page.ledger, OFFSET), LEDGER_ENTRY_NONE);
	assert_false(page.is_touched);
}

/* Far apart, their text is longer than commit metadata may be, long before there are too many of them. */
static void test_a_ledger_whose_text_is_full(void **state)
{
	char text[LEDGER_TEXT_MAX + 1];
	int64_t offset = INT64_C(1000000000);

	(void)state;
	do {
		put(offset, LEDGER_ENTRY_TOLD);
		offset += INT64_C(1000000000);
	} while (ledger_encode(&page.ledger, text) == 0);
	ledger_remove(&page.ledger, offset - INT64_C(1000000000));
	item.lease.offset = offset;
	assert_int_equal(tell_decide_announce(&page, &item, false), KAFKA_VERDICT_FAILED);
	assert_int_equal(ledger_find(&page.ledger, offset), LEDGER_ENTRY_NONE);
	assert_false(page.is_touched);
}

static void test_only_what_is_announced_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(tell_decide_tell(&page, &item),
			 KAFKA_VERDICT_FAILED); /* the producer that announced it is gone */
	assert_int_equal(page.ledger.n, 0);
	put(OFFSET, LEDGER_ENTRY_ANNOUNCED);
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_NOT_TOLD);
	assert_int_equal(ledger_find(&page.ledger, OFFSET), LEDGER_ENTRY_TOLD);
	assert_true(page.is_touched);
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_TOLD);
}

static void test_what_is_withdrawn_leaves_the_ledger(void **state)
{
	(void)state;
	put(OFFSET, LEDGER_ENTRY_ANNOUNCED);
	item.is_withdrawn = true;
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_FAILED);
	assert_int_equal(page.ledger.n, 0);
	assert_true(page.is_touched);
	assert_int_equal(tell_decide_tell(&page, &item), KAFKA_VERDICT_FAILED);
}

static void test_what_is_over_is_not_left_to_workers(void **state)
{
	(void)state;
	assert_true(tell_decide_can_wait(&item, 3));
	item.lease.attempt = 3;
	assert_false(tell_decide_can_wait(&item, 3));
	item.lease.attempt = 1;
	item.is_expired = true;
	assert_false(tell_decide_can_wait(&item, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_announcement_is_entered, set_up),
		cmocka_unit_test_setup(test_what_workers_will_come_to_is_not_announced, set_up),
		cmocka_unit_test_setup(test_what_was_told_is_told, set_up),
		cmocka_unit_test_setup(test_a_full_ledger_takes_no_more, set_up),
		cmocka_unit_test_setup(test_a_ledger_whose_text_is_full, set_up),
		cmocka_unit_test_setup(test_only_what_is_announced_is_told_once, set_up),
		cmocka_unit_test_setup(test_what_is_withdrawn_leaves_the_ledger, set_up),
		cmocka_unit_test_setup(test_what_is_over_is_not_left_to_workers, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
