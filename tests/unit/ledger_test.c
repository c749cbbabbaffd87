#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "wire/ledger.h"

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
	assert_int_equal(ledger_put(&ledger, 1000, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(ledger_put(&ledger, 7, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(ledger_put(&ledger, 1001, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(ledger_put(&ledger, 7, LEDGER_ENTRY_TOLD), 0); /* is there */
	assert_int_equal(ledger_put(&ledger, INT64_MAX, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_string_equal(text, "t1:7,993,1,9223372036854774806");
	assert_int_equal(ledger_decode(text, &again), 0);
	assert_int_equal(again.n, 4);
	assert_int_equal(ledger_find(&again, 7), LEDGER_ENTRY_TOLD);
	assert_int_equal(ledger_find(&again, 1000), LEDGER_ENTRY_TOLD);
	assert_int_equal(ledger_find(&again, INT64_MAX), LEDGER_ENTRY_TOLD);
	assert_int_equal(ledger_find(&again, 8), LEDGER_ENTRY_NONE);
	assert_int_equal(ledger_find(&again, 0), LEDGER_ENTRY_NONE);
}

static void test_announced(void **state)
{
	struct ledger ledger = { .n = 0 }, again;
	char text[LEDGER_TEXT_MAX + 1];

	(void)state;
	assert_int_equal(ledger_put(&ledger, 5, LEDGER_ENTRY_ANNOUNCED), 0);
	assert_int_equal(ledger_put(&ledger, 9, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(ledger_put(&ledger, 7, LEDGER_ENTRY_ANNOUNCED), 0);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_string_equal(text, "t1:5!,2!,2");
	assert_int_equal(ledger_decode(text, &again), 0);
	assert_int_equal(ledger_find(&again, 5), LEDGER_ENTRY_ANNOUNCED);
	assert_int_equal(ledger_find(&again, 9), LEDGER_ENTRY_TOLD);
	assert_int_equal(ledger_put(&again, 5, LEDGER_ENTRY_TOLD), 0);
	assert_int_equal(again.n, 3);
	assert_int_equal(ledger_withdraw(&again), 1);
	assert_int_equal(ledger_encode(&again, text), 0);
	assert_string_equal(text, "t1:5,4");
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
					   "t1:1!!",
					   "t1:!1",
					   "t1:1!2",
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
		assert_int_equal(ledger_put(&ledger, offset, LEDGER_ENTRY_TOLD), 0);
	ledger_prune(&ledger, is_even, NULL);
	ledger_remove(&ledger, 3);
	ledger_remove(&ledger, 4); /* is not there */
	assert_int_equal(ledger.n, 2);
	assert_int_equal(ledger_find(&ledger, 1), LEDGER_ENTRY_TOLD);
	assert_int_equal(ledger_find(&ledger, 5), LEDGER_ENTRY_TOLD);
}

/* A full ledger says so, and is never cut. */
static void test_full(void **state)
{
	char text[LEDGER_TEXT_MAX + 1];
	struct ledger ledger = { .n = 0 };
	int64_t offset = 1000000000000;
	struct ledger again;

	(void)state;
	while (ledger_put(&ledger, offset, LEDGER_ENTRY_TOLD) == 0 && ledger_encode(&ledger, text) == 0)
		offset += 1000000;
	ledger_remove(&ledger, offset);
	assert_true(ledger.n > 400);
	assert_int_equal(ledger_encode(&ledger, text), 0);
	assert_int_equal(ledger_decode(text, &again), 0);
	assert_int_equal(again.n, ledger.n);
	for (ledger.n = 0, offset = 0; ledger_put(&ledger, offset, LEDGER_ENTRY_TOLD) == 0; offset++)
		;
	assert_int_equal(ledger.n, LEDGER_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_foreign_text_is_refused),
		cmocka_unit_test(test_prune_and_remove),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
