/* Offsets against a naive model, and the metadata's round trip. */
#include "wire/offsets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MODEL_OFFSETS 20000

static int64_t model_next(const char *model, int64_t from, int64_t end)
{
	while (from < end && model[from] == 'd')
		from++;
	return from;
}

/* '-' not delivered, 'r' received, 'd' done or a gap. */
static void agrees_with_a_naive_model(void **state)
{
	static char model[MODEL_OFFSETS];
	struct offsets *offsets = offsets_new(0, NULL);
	int64_t end = 0, open_count = 0;

	(void)state;
	srandom(1);
	memset(model, '-', sizeof(model));
	while (end < MODEL_OFFSETS - 3) {
		if (random() % 2 && !offsets_is_full(offsets)) {
			int64_t offset = end + random() % 3; /* gaps of up to two: transaction markers */

			assert_true(offsets_receive(offsets, offset));
			memset(model + end, 'd', (size_t)(offset - end));
			model[offset] = 'r';
			end = offset + 1;
			open_count++;
		} else if (open_count) {
			int64_t offset = random() % end;

			while (model[offset] != 'r')
				offset = (offset + 1) % end;
			offsets_done(offsets, offset);
			model[offset] = 'd';
			open_count--;
		}
		assert_int_equal(offsets_next(offsets), model_next(model, 0, end));
	}
	offsets_free(offsets);
}

static void the_map_survives_a_restart(void **state)
{
	char metadata[OFFSETS_METADATA_MAX + 1];
	struct offsets *before = offsets_new(100, ""), *after;

	(void)state;
	for (int64_t offset = 100; offset < 400; offset++)
		assert_true(offsets_receive(before, offset));
	for (int64_t offset = 101; offset < 400; offset += 3)
		offsets_done(before, offset);
	offsets_metadata(before, metadata);
	after = offsets_new(offsets_next(before), metadata);
	assert_int_equal(offsets_next(after), 100);
	for (int64_t offset = 100; offset < 400; offset++)
		assert_int_equal(offsets_receive(after, offset), (offset - 101) % 3 != 0 || offset == 100);
	offsets_free(before);
	offsets_free(after);
}

static void the_fullest_map_fits(void **state)
{
	char metadata[OFFSETS_METADATA_MAX + 1];
	struct offsets *offsets = offsets_new(0, NULL);

	(void)state;
	for (int64_t offset = 0; offset < OFFSETS_WINDOW; offset++) {
		assert_true(offsets_receive(offsets, offset));
		if (offset > 0)
			offsets_done(offsets, offset);
		if (offset < OFFSETS_WINDOW / 2)
			assert_false(offsets_is_full(offsets));
	}
	assert_true(offsets_is_full(offsets));
	offsets_metadata(offsets, metadata);
	assert_in_range(strlen(metadata), OFFSETS_WINDOW / 6, OFFSETS_METADATA_MAX);
	for (const char *p = metadata; *p; p++)
		assert_in_range(*p, 0x21, 0x7e); /* printable: librdkafka 2.0.2 cuts at a NUL */
	offsets_done(offsets, 0);
	assert_int_equal(offsets_next(offsets), OFFSETS_WINDOW);
	offsets_metadata(offsets, metadata);
	assert_string_equal(metadata, "");
	offsets_free(offsets);
}

static void foreign_metadata_says_nothing(void **state)
{
	const char *const texts[] = { "", "somebody else's", "1:\x01", "1:A B", "2:////", "1" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct offsets *offsets = offsets_new(5, texts[i]);

		assert_int_equal(offsets_next(offsets), 5);
		for (int64_t offset = 5; offset < 40; offset++)
			assert_true(offsets_receive(offsets, offset));
		offsets_free(offsets);
	}
}

static void a_wide_gap_with_nothing_open_is_behind_us(void **state)
{
	struct offsets *offsets = offsets_new(0, NULL);

	(void)state;
	assert_true(offsets_has_room(offsets, 5000000));
	assert_true(offsets_receive(offsets, 5000000));
	assert_false(offsets_has_room(offsets, 5000000 + OFFSETS_WINDOW)); /* one is open: the map must still reach */
	assert_true(offsets_has_room(offsets, 5000000 + OFFSETS_WINDOW - 1));
	assert_int_equal(offsets_next(offsets), 5000000);
	assert_false(offsets_receive(offsets, 4999999));
	offsets_done(offsets, 5000000);
	assert_int_equal(offsets_next(offsets), 5000001);
	offsets_free(offsets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_naive_model),
		cmocka_unit_test(the_map_survives_a_restart),
		cmocka_unit_test(the_fullest_map_fits),
		cmocka_unit_test(foreign_metadata_says_nothing),
		cmocka_unit_test(a_wide_gap_with_nothing_open_is_behind_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
