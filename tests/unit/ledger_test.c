#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "reaper/ledger.h"

static bool is_even(void *ctx, int64_t offset)
{
	(void)ctx;
	return offset % 2 == 0;
}

static void test_round_trip(void **state)
{
	struct ledger ledger = { .n = 0 }, again;
	char text[LEDGER_TEXT_MAX + 1];

	(void)state;
	assert_int_equal(ledger_add(&ledger, 1000), 0);
	assert_int_equal(ledger_add(&ledger, 7), 0);
	assert_int_equal(ledger_add(&ledger, 1001), 0);
	assert_int_equal(ledger_add(&ledger, 7), 0); /* is there */
	assert_int_equal(ledger_add(&ledger, INT64_MAX), 0);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_string_equal(text, "t1:7,993,1,9223372036854774806");
	assert_int_equal(ledger_decode(text, &again), 0);
	assert_int_equal(again.n, 4);
	assert_true(ledger_has(&again, 7) && ledger_has(&again, 1000) && ledger_has(&again, INT64_MAX));
	assert_false(ledger_has(&again, 8) || ledger_has(&again, 0));
}

static void test_empty(void **state)
{
	char text[LEDGER_TEXT_MAX + 1];
	struct ledger ledger;

	(void)state;
	assert_int_equal(ledger_decode("", &ledger), 0);
	assert_int_equal(ledger.n, 0);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_int_equal(ledger_decode(text, &ledger), 0);
	assert_int_equal(ledger.n, 0);
}

static void test_foreign_text_is_refused(void **state)
{
	static const char *const bad[] = { "1:AB",
					   "t1",
					   "t1:x",
					   "t1:1,",
					   "t1:,1",
					   "t1:1,0",
					   "t1:-1",
					   "t1:1 2",
					   "t2:1",
					   "t1:99999999999999999999",
					   "t1:9223372036854775807,1" };
	struct ledger ledger;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ledger_decode(bad[i], &ledger), -EBADMSG);
}

static void test_prune_and_remove(void **state)
{
	struct ledger ledger = { .n = 0 };

	(void)state;
	for (int64_t offset = 1; offset <= 6; offset++)
		assert_int_equal(ledger_add(&ledger, offset), 0);
	ledger_prune(&ledger, is_even, NULL);
	ledger_remove(&ledger, 3);
	ledger_remove(&ledger, 4); /* is not there */
	assert_int_equal(ledger.n, 2);
	assert_true(ledger_has(&ledger, 1) && ledger_has(&ledger, 5));
}

/* A full ledger says so, and is never cut. */
static void test_full(void **state)
{
	char text[LEDGER_TEXT_MAX + 1];
	struct ledger ledger = { .n = 0 };
	int64_t offset = 1000000000000;
	struct ledger again;

	(void)state;
	while (ledger_add(&ledger, offset) == 0 && ledger_encode(&ledger, text) == 0)
		offset += 1000000;
	ledger_remove(&ledger, offset);
	assert_true(ledger.n > 400);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_int_equal(ledger_decode(text, &again), 0);
	assert_int_equal(again.n, ledger.n);
	for (ledger.n = 0, offset = 0; ledger_add(&ledger, offset) == 0; offset++)
		;
	assert_int_equal(ledger.n, LEDGER_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_foreign_text_is_refused),
		cmocka_unit_test(test_prune_and_remove),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
