#include "wire/unpack.h"

#include <errno.h>
#include <string.h>

#include "base/own.h"
#include "tests/unit/unit.h"

static const struct prescan_limits limits = { 4096, 8, 100 };

struct shape {
	uint32_t size;
	uint64_t wide;
	bool is_round;
	struct unpack_text name;
	char colour[8];
};

static const struct unpack_rule rules[] = {
	{ .key = "size",
	  .read = unpack_rule_u32,
	  .offset = offsetof(struct shape, size),
	  .min = 1,
	  .max = 9,
	  .is_required = true },
	{ .key = "wide", .read = unpack_rule_u64, .offset = offsetof(struct shape, wide), .max = UINT64_MAX },
	{ .key = "round", .read = unpack_rule_bool, .offset = offsetof(struct shape, is_round) },
	{ .key = "name", .read = unpack_rule_text, .offset = offsetof(struct shape, name), .min = 1, .max = 4 },
	{ .key = "colour", .read = unpack_rule_chars, .offset = offsetof(struct shape, colour), .max = 7 },
};

static int read_shape(const char *bytes, size_t len, enum unpack_unknown unknown, struct shape *shape, char why[160])
{
	*shape = (struct shape){ .size = 0 };
	return unpack_message((const uint8_t *)bytes, len, &limits, rules, ARRAY_SIZE(rules), unknown, shape, why);
}

static void assert_why(const char *bytes, size_t len, const char *expected)
{
	struct shape shape;
	char why[160] = "";

	assert_int_equal(read_shape(bytes, len, UNPACK_UNKNOWN_REFUSED, &shape, why), -EBADMSG);
	assert_string_equal(why, expected);
}

#define ASSERT_WHY(literal, expected) assert_why(literal, sizeof(literal) - 1, expected)

static void test_fields_are_read(void **state)
{
	static const char bytes[] =
		"\x85\xa4size\x05\xa4wide\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa5round\xc3\xa4name\xa2hi"
		"\xa6"
		"colour\xa3red";
	struct shape shape;
	char why[160];

	(void)state;
	assert_int_equal(read_shape(bytes, sizeof(bytes) - 1, UNPACK_UNKNOWN_REFUSED, &shape, why), 0);
	assert_int_equal(shape.size, 5);
	assert_true(shape.wide == UINT64_MAX);
	assert_true(shape.is_round);
	assert_int_equal(shape.name.len, 2);
	assert_memory_equal(shape.name.text, "hi", 2);
	assert_string_equal(shape.colour, "red");
}

static void test_flaws_name_the_field(void **state)
{
	(void)state;
	ASSERT_WHY("\x80", "size: is missing");
	ASSERT_WHY("\x81\xa4size\x0a", "size: must be from 1 to 9");
	ASSERT_WHY("\x81\xa4size\xff", "size: must be from 1 to 9");
	ASSERT_WHY("\x81\xa4size\xcf\0\0\0\1\0\0\0\1", "size: must be from 1 to 9");
	ASSERT_WHY("\x81\xa4size\xca\x3f\x80\x00\x00", "size: must be a whole number, sent as a msgpack integer");
	ASSERT_WHY("\x82\xa4size\x05\xa5round\x01", "round: must be true or false");
	ASSERT_WHY("\x82\xa4size\x05\xa4name\xa0", "name: must be 1 to 4 bytes long, not 0");
	ASSERT_WHY("\x82\xa4size\x05\xa4name\xa1\xff", "name: the text must be valid UTF-8");
	ASSERT_WHY("\x82\xa4size\x05\xa4name\xa2"
		   "a\0",
		   "name: the text must not hold a NUL byte");
	ASSERT_WHY("\x82\xa4size\x05\xa4name\xc4\x01x", "name: must be text, sent as a msgpack str");
	ASSERT_WHY("\x82\xa4size\x05\xa6"
		   "colour\xa8"
		   "12345678",
		   "colour: must be 0 to 7 bytes long, not 8");
	ASSERT_WHY("\x82\xa4size\x05\xa4size\x05", "size: is given twice; keep one");
	ASSERT_WHY("\x82\xa4size\x05\xa3odd\x05", "odd: is not a known field; remove it");
	ASSERT_WHY("\x82\xa4size\x05\x01\x05", "[1]: the key of this pair must be a msgpack str");
	ASSERT_WHY("", "the message is empty; send one msgpack map");
	ASSERT_WHY("\x91\xc0", "the message must be one msgpack map, and begins with a value of another kind");
	ASSERT_WHY("\x05\x05", "the message must be one msgpack map, and begins with a value of another kind");
	ASSERT_WHY("{", "this looks like JSON text; the message must be one msgpack map");
	ASSERT_WHY("{\"v\":1}", "this looks like JSON text; the message must be one msgpack map");
	ASSERT_WHY(" \n[{}]", "this looks like JSON text; the message must be one msgpack map");
	ASSERT_WHY("\xef\xbb\xbf{}", "this looks like JSON text; the message must be one msgpack map");
	ASSERT_WHY("hqF2AaRraW5k", "this looks like text; the message must be one msgpack map");
	ASSERT_WHY("\x80{}", "bytes follow the message; send one msgpack map per record");
	ASSERT_WHY("\xc1", "the message is not msgpack");
}

static void test_unknown_fields_can_be_skipped(void **state)
{
	static const char bytes[] = "\x82\xa3odd\x91\xc0\xa4size\x05";
	static const char twice[] = "\x83\xa3odd\x01\xa3odd\x01\xa4size\x05";
	struct shape shape;
	char why[160];

	(void)state;
	assert_int_equal(read_shape(bytes, sizeof(bytes) - 1, UNPACK_UNKNOWN_SKIPPED, &shape, why), 0);
	assert_int_equal(shape.size, 5);
	assert_int_equal(read_shape(twice, sizeof(twice) - 1, UNPACK_UNKNOWN_SKIPPED, &shape, why), -EBADMSG);
}

/* A hostile key can neither overflow the path nor smuggle anything but printable ASCII into it. */
static void test_paths_are_bounded(void **state)
{
	static const char key[] =
		"long\n\x1b[2J key \xc3\xa9 ...........................................................";
	msgpack_object object = { .type = MSGPACK_OBJECT_NIL };
	struct unpack_flaw flaw;
	struct unpack_value chain[12] = { { .object = &object, .flaw = &flaw } };

	(void)state;
	for (size_t i = 1; i < ARRAY_SIZE(chain); i++)
		chain[i] = (struct unpack_value){ .object = &object,
						  .parent = &chain[i - 1],
						  .flaw = &flaw,
						  .key = i % 2 ? key : NULL,
						  .key_len = i % 2 ? sizeof(key) - 1 : 0,
						  .index = SIZE_MAX };
	for (size_t i = 0; i < ARRAY_SIZE(chain); i++) {
		assert_int_equal(unpack_fail(&chain[i], "%0300d", 7), -EBADMSG);
		assert_true(strlen(flaw.field) < sizeof(flaw.field));
		for (const char *p = flaw.field; *p; p++)
			assert_true(*p > 0x20 && *p < 0x7f);
		assert_int_equal(strlen(flaw.message), sizeof(flaw.message) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_are_read),
		cmocka_unit_test(test_flaws_name_the_field),
		cmocka_unit_test(test_unknown_fields_can_be_skipped),
		cmocka_unit_test(test_paths_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
