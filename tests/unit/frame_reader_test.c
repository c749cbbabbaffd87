/* A stream of frames is read on after any peer that broke off, and nothing that it left behind is taken for a frame. */
#include "wire/frame_reader.h"

#include <string.h>

#include "base/own.h"
#include "tests/unit/unit.h"
#include "wire/frame.h"

/* the worst that a program can write */
static const uint8_t data[FRAME_DATA_MAX] = { [0 ... FRAME_DATA_MAX - 1] = FRAME_SYNC };

/* What a reader found in a stream. */
struct found {
	unsigned n_frames, n_syncs, n_bad;
	struct frame last; /* numbers only */
};

static void add_out(struct buf *buf, uint64_t offset, size_t len)
{
	const struct frame frame = { .type = FRAME_OUT, .exec = 0xffff, .stream = 1, .offset = offset, .data = data,
				     .len = len };

	assert_int_equal(frame_encode(&frame, buf), 0);
}

static void take_frame(struct found *found, struct frame_reader *reader, const uint8_t *bytes, size_t len)
{
	struct frame frame;
	char why[160];

	if (frame_decode(bytes, len, &frame, why) < 0) {
		found->n_bad++;
		frame_reader_lose(reader);
		return;
	}
	found->n_frames++;
	found->last = frame;
	frame_clear(&frame);
}

/* Read all of it, in pieces of `piece` bytes. */
static struct found read_stream(struct frame_reader reader, const struct buf *stream, size_t piece)
{
	struct buf in = { .max = FRAME_MAX_BYTES + 4 + 65536 };
	struct found found = { .n_frames = 0 };
	size_t bytes;

	for (size_t at = 0; at < stream->len; at += piece) {
		enum frame_read r;

		assert_int_equal(buf_append(&in, stream->data + at,
					    piece < stream->len - at ? piece : stream->len - at), 0);
		while ((r = frame_reader_next(&reader, in.data, in.len, &bytes)) != FRAME_READ_MORE) {
			found.n_syncs += r == FRAME_READ_SYNC;
			found.n_bad += r == FRAME_READ_BAD;
			if (r == FRAME_READ_WHOLE)
				take_frame(&found, &reader, in.data, bytes);
			buf_consume(&in, bytes);
		}
		buf_consume(&in, bytes);
	}
	buf_free(&in);
	return found;
}

static void test_a_stream_from_its_beginning(void **state)
{
	struct buf stream = { 0 };
	struct found found;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		add_out(&stream, i, i == 1 ? FRAME_DATA_MAX : 255);
	for (size_t piece = 1; piece < 70000; piece = piece * 3 + 1) {
		found = read_stream((struct frame_reader){ 0 }, &stream, piece);
		assert_int_equal(found.n_frames, 3);
		assert_int_equal(found.n_syncs + found.n_bad, 0);
	}
	buf_free(&stream);
}

/* One peer breaks off after `cut` bytes of a frame; the next one sends a frame of its own. */
static void expect_cut_is_survived(const struct buf *broken, size_t cut, struct frame_reader reader, size_t piece)
{
	struct buf stream = { 0 };
	struct found found;

	assert_int_equal(buf_append(&stream, broken->data, cut), 0);
	assert_int_equal(frame_append_sync(&stream), 0);
	add_out(&stream, 77, 3);
	found = read_stream(reader, &stream, piece);
	if (found.n_frames != 1 || found.n_bad || !found.n_syncs)
		fail_msg("cut at %zu: %u frames, %u syncs, %u bad", cut, found.n_frames, found.n_syncs, found.n_bad);
	assert_int_equal(found.last.offset, 77);
	buf_free(&stream);
}

static void test_a_peer_that_broke_off(void **state)
{
	struct buf broken = { 0 };

	(void)state;
	add_out(&broken, 1, 300);
	for (size_t cut = 0; cut < broken.len; cut++)
		expect_cut_is_survived(&broken, cut, (struct frame_reader){ 0 }, 65536);
	expect_cut_is_survived(&broken, 5, (struct frame_reader){ 0 }, 1);
	buf_free(&broken);
	add_out(&broken, 1, FRAME_DATA_MAX);
	for (size_t cut = 1; cut < broken.len; cut += 1021)
		expect_cut_is_survived(&broken, cut, (struct frame_reader){ 0 }, 65536);
	buf_free(&broken);
}

/* The longest that a length can promise, and each length that the sync itself can complete. */
static void test_a_cut_length(void **state)
{
	static const uint8_t lengths[][4] = { { 0, 4, 0, 0 }, { 0, 3, 0xff, 0xfe }, { 0, 0, 1, 1 } };
	struct buf broken = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		for (size_t cut = 1; cut <= 4; cut++) {
			buf_clear(&broken);
			assert_int_equal(buf_append(&broken, lengths[i], 4), 0);
			expect_cut_is_survived(&broken, cut, (struct frame_reader){ 0 }, 65536);
		}
	buf_free(&broken);
}

/* Who comes in the middle: what a program wrote there, 0xff and then a frame of the program's own making, is no
 * beginning. */
static void test_a_reader_that_is_new(void **state)
{
	struct frame_reader lost;
	struct buf forged = { 0 }, stream = { 0 };
	struct found found;

	(void)state;
	frame_reader_lose(&lost);
	assert_int_equal(buf_append(&stream, data, FRAME_DATA_MAX), 0);
	add_out(&stream, 1, 5);
	found = read_stream(lost, &stream, 1000);
	assert_int_equal(found.n_frames, 0);
	assert_int_equal(found.n_syncs, 0);
	expect_cut_is_survived(&stream, stream.len, lost, 1000);
	assert_int_equal(buf_append(&forged, data, 1), 0); /* the control: with one more it is */
	assert_int_equal(buf_append(&forged, stream.data, stream.len), 0);
	found = read_stream(lost, &forged, 1000);
	assert_int_equal(found.n_frames, 1);
	buf_free(&stream);
	buf_free(&forged);
}

static void test_what_is_no_frame(void **state)
{
	static const uint8_t garbage[] = { 0, 0, 0, 3, 0xc1, 0xc1, 0xc1 }, too_long[] = { 0x80, 0, 0, 1 };
	struct buf stream = { 0 };
	struct found found;

	(void)state;
	assert_int_equal(buf_append(&stream, garbage, sizeof(garbage)), 0);
	add_out(&stream, 1, 5);
	found = read_stream((struct frame_reader){ 0 }, &stream, 3);
	assert_int_equal(found.n_bad, 1);
	assert_int_equal(found.n_frames, 0); /* not believed any more */
	buf_clear(&stream);
	assert_int_equal(buf_append(&stream, too_long, sizeof(too_long)), 0);
	assert_int_equal(frame_append_sync(&stream), 0);
	add_out(&stream, 1, 5);
	found = read_stream((struct frame_reader){ 0 }, &stream, 4096);
	assert_int_equal(found.n_bad, 1);
	assert_int_equal(found.n_frames, 1);
	buf_free(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stream_from_its_beginning), cmocka_unit_test(test_a_peer_that_broke_off),
		cmocka_unit_test(test_a_cut_length),		    cmocka_unit_test(test_a_reader_that_is_new),
		cmocka_unit_test(test_what_is_no_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
