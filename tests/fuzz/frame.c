/* The guest channel, as the engine and the agent read it: a stream is cut into frames, and each is decoded. */
#include "wire/frame.h"

#include <string.h>

#include "tests/fuzz/target.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
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
