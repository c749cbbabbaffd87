#include "bus/refusals.h"

#include "tests/unit/unit.h"

static void test_groups_shrink_to_single_messages(void **state)
{
	struct refusals refusals = { 0 };
	size_t before = SIZE_MAX;
	int n = 0;

	(void)state;
	assert_int_equal(refusals_group_bytes(&refusals, 1000), SIZE_MAX);
	while (before > 0) {
		refusals_note_group(&refusals, 1000);
		assert_true(refusals_group_bytes(&refusals, 1000) < before);
		before = refusals_group_bytes(&refusals, 1000);
		n++;
	}
	assert_in_range(n, 2, 10); /* so many transactions are aborted before each message goes alone */
	refusals_note_group(&refusals, 1000);
	assert_int_equal(refusals_group_bytes(&refusals, 1000), 0);
}

static void test_the_whole_is_tried_again(void **state)
{
	struct refusals refusals = { 0 };

	(void)state;
	refusals_note_group(&refusals, 1000);
	refusals_note_group(&refusals, 1500);
	assert_true(refusals_group_bytes(&refusals, 1500 + REFUSALS_KEPT_MS - 1) < SIZE_MAX);
	assert_int_equal(refusals_group_bytes(&refusals, 1500 + REFUSALS_KEPT_MS), SIZE_MAX);
	refusals_note_alone(&refusals, "results", 500, 1000);
	assert_true(refusals_has(&refusals, "results", 500, 1000 + REFUSALS_KEPT_MS - 1));
	assert_false(refusals_has(&refusals, "results", 500, 1000 + REFUSALS_KEPT_MS));
}

static void test_each_topic_has_its_own_limit(void **state)
{
	struct refusals refusals = { 0 };

	(void)state;
	refusals_note_alone(&refusals, "results", 500, 1000);
	refusals_note_alone(&refusals, "dead", 90, 1000);
	refusals_note_alone(&refusals, "results", 700, 1001); /* says nothing new */
	assert_true(refusals_has(&refusals, "results", 500, 1001));
	assert_true(refusals_has(&refusals, "results", 9000, 1001));
	assert_false(refusals_has(&refusals, "results", 499, 1001));
	assert_true(refusals_has(&refusals, "dead", 90, 1001));
	assert_false(refusals_has(&refusals, "output", 9000, 1001));
	refusals_note_alone(&refusals, "results", 300, 1002);
	assert_true(refusals_has(&refusals, "results", 300, 1002));
}

static void test_more_topics_than_it_keeps(void **state)
{
	struct refusals refusals = { 0 };
	char topic[8] = "t0";

	(void)state;
	for (int c = 'a'; c < 'a' + REFUSALS_TOPICS + 3; c++) {
		topic[1] = (char)c;
		refusals_note_alone(&refusals, topic, 10, (uint64_t)c);
		assert_true(refusals_has(&refusals, topic, 10, (uint64_t)c));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups_shrink_to_single_messages),
		cmocka_unit_test(test_the_whole_is_tried_again),
		cmocka_unit_test(test_each_topic_has_its_own_limit),
		cmocka_unit_test(test_more_topics_than_it_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
