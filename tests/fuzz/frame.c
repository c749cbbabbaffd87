/* The guest protocol, as the engine and the agent read it: a stream is cut into frames, and each is decoded; and
 * wherever it breaks off, the next peer's first frame is the next that is found. */
#include "wire/frame.h"

#include <string.h>

#include "tests/fuzz/target.h"
#include "wire/frame_reader.h"

static void check_frame(const struct frame *frame)
{
	struct buf first = { 0 }, second = { 0 };
	struct frame again;
	char why[160] = "";

	FUZZ_CHECK((unsigned)frame->type < FRAME_TYPE_COUNT && frame->len <= FRAME_DATA_MAX);
	FUZZ_CHECK(frame_encode(frame, &first) == 0);
	FUZZ_CHECK(frame_extent(first.data, first.len) == (int64_t)first.len);
	FUZZ_CHECK(frame_decode(first.data, first.len, &again, why) == 0);
	FUZZ_CHECK(again.type == frame->type && frame_encode(&again, &second) == 0);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	frame_clear(&again);
	buf_free(&first);
	buf_free(&second);
}

static void read_stream(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_left,
			unsigned *ret_last)
{
	enum frame_read r;
	size_t bytes;

	while ((r = frame_reader_next(reader, data, len, &bytes)) != FRAME_READ_MORE) {
		FUZZ_CHECK(bytes > 0 && bytes <= len);
		*ret_last = r;
		if (r == FRAME_READ_WHOLE)
			*ret_left = len;
		data += bytes;
		len -= bytes;
	}
	FUZZ_CHECK(bytes <= len);
}

/* After anything, a FRAME_SYNC and a frame: the last thing found is that frame, where it begins. */
static void check_sync(struct frame_reader reader, const uint8_t *data, size_t len)
{
	const struct frame attach = { .type = FRAME_ATTACH, .version = FRAME_VERSION };
	struct buf stream = { 0 };
	unsigned last = FRAME_READ_MORE;
	size_t sync_end, left = 0;

	FUZZ_CHECK(buf_append(&stream, data, len) == 0 && frame_append_sync(&stream) == 0);
	sync_end = stream.len;
	FUZZ_CHECK(frame_encode(&attach, &stream) == 0);
	read_stream(&reader, stream.data, stream.len, &left, &last);
	FUZZ_CHECK(last == FRAME_READ_WHOLE && left == stream.len - sync_end);
	buf_free(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frame_reader lost;

	frame_reader_lose(&lost);
	if (len <= FRAME_MAX_BYTES) {
		check_sync((struct frame_reader){ .state = FRAME_READER_FRAMES }, data, len);
		check_sync(lost, data, len);
	}
	while (len) {
		int64_t extent = frame_extent(data, len);
		struct frame frame;
		char why[160] = "";

		FUZZ_CHECK(extent <= FRAME_MAX_BYTES + 4);
		if (extent <= 0 || (uint64_t)extent > len)
			return 0;
		if (frame_decode(data, (size_t)extent, &frame, why) == 0) {
			check_frame(&frame);
			frame_clear(&frame);
		} else {
			FUZZ_CHECK(why[0] && strnlen(why, sizeof(why)) < sizeof(why));
		}
		data += extent;
		len -= (size_t)extent;
	}
	return 0;
}
