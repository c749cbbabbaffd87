#include "wire/prescan.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static const struct prescan_limits limits = { 1000, 4, 20 };

static enum prescan_verdict scan(const char *bytes, size_t len)
{
	struct prescan_field field;

	return prescan((const uint8_t *)bytes, len, &limits, &field);
}

#define SCAN(literal) scan(literal, sizeof(literal) - 1)

static void test_whole_values(void **state)
{
	(void)state;
	assert_int_equal(SCAN("\xc0"), PRESCAN_VERDICT_OK);
	assert_int_equal(SCAN("\x80"), PRESCAN_VERDICT_OK);
	assert_int_equal(SCAN("\x82\xa1"
			      "a\x01\xa1"
			      "b\x92\xc2\xcf\0\0\0\0\0\0\0\1"),
			 PRESCAN_VERDICT_OK);
	assert_int_equal(SCAN("\xd8\x01"
			      "0123456789abcdef"),
			 PRESCAN_VERDICT_OK);
	assert_int_equal(SCAN("\xc7\x02\x05xy"), PRESCAN_VERDICT_OK);
}

static void test_cut_and_trailing(void **state)
{
	(void)state;
	assert_int_equal(SCAN(""), PRESCAN_VERDICT_EMPTY);
	assert_int_equal(SCAN("\xcf\0\0"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xd9"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xa3xy"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xc7\x02\x05x"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xc0\xc0"), PRESCAN_VERDICT_TRAILING);
	assert_int_equal(SCAN("\xc1"), PRESCAN_VERDICT_NOT_MSGPACK);
}

static void test_claims_are_backed(void **state)
{
	(void)state;
	assert_int_equal(SCAN("\xdd\xff\xff\xff\xff"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xdf\xff\xff\xff\xff"), PRESCAN_VERDICT_TRUNCATED); /* twice the count must not wrap */
	assert_int_equal(SCAN("\xdf\x80\x00\x00\x00"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xdb\xff\xff\xff\xff"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xc6\xff\xff\xff\xff"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\xc9\xff\xff\xff\xff\x01"), PRESCAN_VERDICT_TRUNCATED);
	assert_int_equal(SCAN("\x81\x01"), PRESCAN_VERDICT_TRUNCATED); /* a pair takes two bytes at least */
}

static void test_limits_are_inclusive(void **state)
{
	static const char zeros[40];
	char bytes[41] = "\xdc\x00\x13"; /* an array of 19: with itself 20 values */
	struct prescan_field field;

	(void)state;
	assert_int_equal(SCAN("\x91\x91\x91\x91\xc0"), PRESCAN_VERDICT_OK);
	assert_int_equal(SCAN("\x91\x91\x91\x91\x90"), PRESCAN_VERDICT_TOO_DEEP);
	assert_int_equal(SCAN("\x81\x01\x81\x01\x81\x01\x81\x01\x80"), PRESCAN_VERDICT_TOO_DEEP);
	assert_int_equal(scan(bytes, 3 + 19), PRESCAN_VERDICT_OK);
	bytes[2] = 20;
	assert_int_equal(scan(bytes, 3 + 20), PRESCAN_VERDICT_TOO_MANY);
	assert_int_equal(prescan((const uint8_t *)zeros, 1, &(struct prescan_limits){ 0, 4, 20 }, &field),
			 PRESCAN_VERDICT_TOO_LARGE);
}

static void assert_field(const char *bytes, size_t len, const char *expected)
{
	struct prescan_field field;

	assert_int_not_equal(prescan((const uint8_t *)bytes, len, &limits, &field), PRESCAN_VERDICT_OK);
	assert_int_equal(field.key != NULL, expected != NULL);
	if (expected)
		assert_memory_equal(field.key, expected, strlen(expected));
	assert_int_equal(field.key_len, expected ? strlen(expected) : 0);
}

#define ASSERT_FIELD(literal, expected) assert_field(literal, sizeof(literal) - 1, expected)

static void test_flaws_name_the_outermost_field(void **state)
{
	static char large[1200] = "\x81\xa3" "big\xc5\x04\x9f";

	(void)state;
	ASSERT_FIELD("\x82\xa1" "a\x01\xa2" "bc\xc1", "bc");
	ASSERT_FIELD("\x82\xa1" "a\x01\xd9\x02" "bc\xda\x00\x02" "x", "bc");
	ASSERT_FIELD("\x81\xa1" "a\x81\xa1" "b\xc1", "a"); /* the outermost */
	ASSERT_FIELD("\x81\xa1" "a\x91\x91\x91\x90", "a");
	ASSERT_FIELD("\x81\xa0\xc1", "");
	ASSERT_FIELD("\x82\xa1" "a\x01", NULL);	  /* the next key is missing */
	ASSERT_FIELD("\x82\xa1" "a\x01\xa2" "b", NULL); /* a key that is cut */
	ASSERT_FIELD("\x81\x01\xc1", NULL);		  /* a key that is no text */
	ASSERT_FIELD("\x81\xa1" "a\x01\x01", NULL);	  /* what follows is in no field */
	ASSERT_FIELD("\x92\xa1" "a\xc1", NULL);	  /* an array has none */
	ASSERT_FIELD("", NULL);
	assert_field(large, sizeof(large), "big");
}

/* Whatever passes, msgpack-c accepts and consumes whole: else the prescan judges another language than the decoder. */
static void test_msgpack_agrees(void **state)
{
	unsigned accepted = 0;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		char bytes[40];
		size_t len = 1 + (size_t)rand() % sizeof(bytes), used = 0;
		msgpack_unpacked unpacked;

		for (size_t j = 0; j < len; j++)
			bytes[j] = (char)(rand() % 3 ? rand() : 0x80 + rand() % 0x60);
		if (scan(bytes, len) != PRESCAN_VERDICT_OK)
			continue;
		accepted++;
		msgpack_unpacked_init(&unpacked);
		assert_int_equal(msgpack_unpack_next(&unpacked, bytes, len, &used), MSGPACK_UNPACK_SUCCESS);
		assert_int_equal(used, len);
		msgpack_unpacked_destroy(&unpacked);
	}
	assert_true(accepted > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_values),	  cmocka_unit_test(test_cut_and_trailing),
		cmocka_unit_test(test_claims_are_backed), cmocka_unit_test(test_limits_are_inclusive),
		cmocka_unit_test(test_msgpack_agrees),	  cmocka_unit_test(test_flaws_name_the_outermost_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
