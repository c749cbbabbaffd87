#include "tools/gather.h"

#include <string.h>

#include "tests/unit/unit.h"

/* Everything handed out, as one text. */
struct seen {
	char text[256];
	size_t len;
	uint64_t gap;
	unsigned repeats;
};

static void take(struct gather *gather, struct seen *seen, uint32_t attempt, uint64_t offset, const char *data)
{
	const struct output_chunk chunk = { .stream = OUTPUT_STREAM_STDOUT,
					    .offset = offset,
					    .attempt = attempt,
					    .data = (const uint8_t *)data,
					    .len = strlen(data) };
	struct gather_piece piece = gather_take(gather, &chunk);

	if (piece.len)
		memcpy(seen->text + seen->len, piece.data, piece.len);
	seen->len += piece.len;
	seen->gap += piece.gap;
	seen->repeats += piece.is_repeat;
}

static void test_chunks_in_order(void **state)
{
	struct gather gather = { 0 };
	struct seen seen = { 0 };

	(void)state;
	take(&gather, &seen, 1, 0, "hello ");
	take(&gather, &seen, 1, 6, "world");
	assert_string_equal(seen.text, "hello world");
	assert_int_equal(seen.gap + seen.repeats, 0);
}

static void test_a_chunk_that_comes_twice(void **state)
{
	struct gather gather = { 0 };
	struct seen seen = { 0 };

	(void)state;
	take(&gather, &seen, 1, 0, "hello ");
	take(&gather, &seen, 1, 0, "hello ");
	take(&gather, &seen, 1, 3, "lo world");
	assert_string_equal(seen.text, "hello world");
}

static void test_a_repeated_attempt_is_not_shown_twice(void **state)
{
	struct gather gather = { 0 };
	struct seen seen = { 0 };

	(void)state;
	take(&gather, &seen, 1, 0, "one two ");
	take(&gather, &seen, 2, 0, "one ");
	take(&gather, &seen, 2, 4, "two three");
	take(&gather, &seen, 1, 8, "late word of the first"); /* fenced, but already on its way */
	assert_string_equal(seen.text, "one two three");
	assert_int_equal(seen.repeats, 1);
	assert_int_equal(seen.gap, 0);
}

static void test_what_is_missing_is_counted(void **state)
{
	struct gather gather = { 0 };
	struct seen seen = { 0 };

	(void)state;
	take(&gather, &seen, 1, 0, "abc");
	take(&gather, &seen, 1, 10, "xyz");
	assert_string_equal(seen.text, "abcxyz");
	assert_int_equal(seen.gap, 7);
	assert_int_equal(gather.out.lost, 7);
}

static void test_streams_are_apart(void **state)
{
	struct gather gather = { 0 };
	struct seen seen = { 0 };
	const struct output_chunk chunk = {
		.stream = OUTPUT_STREAM_STDERR, .attempt = 1, .data = (const uint8_t *)"err", .len = 3
	};

	(void)state;
	take(&gather, &seen, 1, 0, "out");
	assert_int_equal(gather_take(&gather, &chunk).len, 3);
	assert_int_equal(gather.out.next, 3);
	assert_int_equal(gather.err_out.next, 3);
}

static void fill_whole(struct result_stream *whole, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(result_stream_add(whole, &(uint8_t){ (uint8_t)(i % 251) }, 1), 0);
	if (whole->tail.len > RESULT_TAIL_BYTES) /* as result_encode() sends it */
		buf_consume(&whole->tail, whole->tail.len - RESULT_TAIL_BYTES);
}

/* Chunks that never came are taken from the result as far as it has them without a gap. */
static void test_fill_from_the_result(void **state)
{
	static const struct {
		uint64_t next;
		size_t kept;
		uint64_t end;
	} cases[] = {
		{ 0, 0, 0 },
		{ 0, 100, 100 },
		{ 60, 100, 100 },
		{ 0, RESULT_HEAD_BYTES + 10, RESULT_HEAD_BYTES + 10 },
		{ RESULT_HEAD_BYTES + 5, RESULT_HEAD_BYTES + 10, RESULT_HEAD_BYTES + 10 },
		{ 0, 200000, RESULT_HEAD_BYTES }, /* a hole between head and tail */
		{ 199000, 200000, 200000 },	  /* well within the tail */
		{ 200000 - RESULT_TAIL_BYTES, 200000, 200000 },
		{ 200000 - RESULT_TAIL_BYTES - 1, 200000, 200000 - RESULT_TAIL_BYTES - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gather_stream stream = { .next = cases[i].next };
		struct result_stream whole = { 0 };
		struct gather_piece piece;
		uint64_t at = cases[i].next;

		fill_whole(&whole, cases[i].kept);
		while ((piece = gather_fill(&stream, &whole)).len)
			for (size_t k = 0; k < piece.len; k++, at++)
				assert_int_equal(piece.data[k], at % 251);
		assert_int_equal(stream.next, cases[i].end);
		assert_int_equal(at, cases[i].end);
		buf_free(&whole.head);
		buf_free(&whole.tail);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunks_in_order),
		cmocka_unit_test(test_a_chunk_that_comes_twice),
		cmocka_unit_test(test_a_repeated_attempt_is_not_shown_twice),
		cmocka_unit_test(test_what_is_missing_is_counted),
		cmocka_unit_test(test_streams_are_apart),
		cmocka_unit_test(test_fill_from_the_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
