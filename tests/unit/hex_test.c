#include "base/hex.h"

#include <string.h>

#include "tests/unit/unit.h"

static void test_there_and_back(void **state)
{
	uint8_t all[256], back[256];
	char text[HEX_CHARS(256)];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	hex_write(all, sizeof(all), text);
	assert_memory_equal(text, "00010203", 8);
	assert_memory_equal(text + sizeof(text) - 8, "fcfdfeff", 8);
	assert_true(hex_read(text, sizeof(all), back));
	assert_memory_equal(back, all, sizeof(all));
}

static void test_writes_nothing_more(void **state)
{
	char text[5] = "....";

	(void)state;
	hex_write((const uint8_t *)"\xa0", 1, text);
	assert_string_equal(text, "a0..");
}

static void test_refusals(void **state)
{
	static const char *const bad[] = { "0A", "0g", "g0", " 0", "0/", "0:", "0`", "0\0" };
	uint8_t byte;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(hex_read(bad[i], 1, &byte));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_there_and_back),
					    cmocka_unit_test(test_writes_nothing_more),
					    cmocka_unit_test(test_refusals) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
