/* The same partition number in two topics: two pages, two ledgers, two answers. */
#include "tests/unit/unit.h"

#include <string.h>

#include "reaper/ledger_pages.h"

static struct ledger_page list[2];
static const struct ledger_pages pages = { .list = list, .n = 2 };

static int set_up(void **state)
{
	(void)state;
	memset(list, 0, sizeof(list));
	list[0].topic = "m.tasks";
	list[1].topic = "m.urgent";
	list[0].partition = list[1].partition = 3;
	list[0].done = offsets_new(10, NULL);
	list[1].done = offsets_new(5, NULL);
	return list[0].done && list[1].done ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	offsets_free(list[0].done);
	offsets_free(list[1].done);
	return 0;
}

static struct kafka_item item_of(const char *topic, int32_t partition, int64_t offset)
{
	struct kafka_item item = { .lease = { .id = "one", .partition = partition, .offset = offset } };

	(void)snprintf(item.lease.topic, sizeof(item.lease.topic), "%s", topic);
	return item;
}

static void test_a_page_is_of_one_topic(void **state)
{
	const struct kafka_item tasks = item_of("m.tasks", 3, 7), urgent = item_of("m.urgent", 3, 7), other = item_of("m.other", 3, 7),
				elsewhere = item_of("m.urgent", 4, 7);

	(void)state;
	assert_ptr_equal(ledger_pages_find(&pages, &tasks.lease), &list[0]);
	assert_ptr_equal(ledger_pages_find(&pages, &urgent.lease), &list[1]);
	assert_null(ledger_pages_find(&pages, &other.lease));
	assert_null(ledger_pages_find(&pages, &elsewhere.lease));
}

static void test_what_is_done_in_one_is_open_in_the_other(void **state)
{
	struct kafka_request request = { .n = 3, .items = { item_of("m.tasks", 3, 7), item_of("m.urgent", 3, 7),
							    item_of("strange.tasks", 3, 7) } };
	struct kafka_reply reply = { 0 };

	(void)state;
	ledger_pages_judge(&pages, &request, &reply);
	assert_int_equal(reply.verdicts[0], KAFKA_VERDICT_TOLD);
	assert_int_equal(reply.verdicts[1], KAFKA_VERDICT_NOT_TOLD);
	assert_int_equal(reply.verdicts[2], KAFKA_VERDICT_FAILED);
	assert_non_null(strstr(reply.error, "strange.tasks"));
}

static void test_a_ledger_is_committed_in_its_topic(void **state)
{
	struct blocking_batch batch = { 0 };

	(void)state;
	assert_int_equal(ledger_put(&list[1].ledger, 7, LEDGER_ENTRY_TOLD), 0);
	list[1].is_touched = true;
	ledger_pages_commit((struct ledger_pages *)(uintptr_t)&pages, &batch);
	assert_int_equal(batch.n_offsets, 1);
	assert_string_equal(batch.offsets[0].topic, "m.urgent");
	assert_int_equal(batch.offsets[0].partition, 3);
	assert_int_equal(batch.offsets[0].next, 8);
	assert_string_equal(batch.offsets[0].metadata, "t1:7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_page_is_of_one_topic, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_done_in_one_is_open_in_the_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_ledger_is_committed_in_its_topic, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
