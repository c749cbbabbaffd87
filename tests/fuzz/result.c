/* result_decode(), output_decode() and control_decode(): anybody may write to their topics. What they accept is stable
 * under a round trip; what they refuse says why. */
#include "wire/result.h"

#include <string.h>

#include "tests/fuzz/target.h"

static void check_why(const char *why)
{
	FUZZ_CHECK(why[0] && strnlen(why, 160) < 160);
}

static void fuzz_result(const uint8_t *data, size_t len)
{
	struct buf first = { 0 }, second = { 0 };
	struct result result, again;
	char why[160] = "";

	if (result_decode(data, len, &result, why) < 0) {
		check_why(why);
		return;
	}
	FUZZ_CHECK(result_encode(&result, &first) == 0);
	if (first.len <= RESULT_MAX_BYTES) { /* absent fields are written out */
		FUZZ_CHECK(result_decode(first.data, first.len, &again, why) == 0);
		FUZZ_CHECK(result_encode(&again, &second) == 0);
		FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
		result_clear(&again);
	}
	result_clear(&result);
	buf_free(&first);
	buf_free(&second);
}

static void fuzz_output(const uint8_t *data, size_t len)
{
	struct output_chunk chunk, again;
	struct buf buf = { 0 };
	char why[160] = "";

	if (output_decode(data, len, &chunk, why) < 0) {
		check_why(why);
		return;
	}
	FUZZ_CHECK(output_encode(&chunk, &buf) == 0 && output_decode(buf.data, buf.len, &again, why) == 0);
	FUZZ_CHECK(again.len == chunk.len && memcmp(again.data, chunk.data, chunk.len) == 0);
	FUZZ_CHECK(again.seq == chunk.seq && again.offset == chunk.offset && again.stream == chunk.stream);
	buf_free(&buf);
}

static void fuzz_control(const uint8_t *data, size_t len)
{
	struct control control, again;
	struct buf buf = { 0 };
	char why[160] = "";

	if (control_decode(data, len, &control, why) < 0) {
		check_why(why);
		return;
	}
	FUZZ_CHECK(ident_is_id(control.cancel_id, strlen(control.cancel_id)));
	FUZZ_CHECK(control_encode(&control, &buf) == 0 && control_decode(buf.data, buf.len, &again, why) == 0);
	FUZZ_CHECK(strcmp(again.cancel_id, control.cancel_id) == 0 && again.created_ms == control.created_ms);
	buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_result(data, len);
	fuzz_output(data, len);
	fuzz_control(data, len);
	return 0;
}
