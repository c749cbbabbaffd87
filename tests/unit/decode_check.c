/* The decoders as a filter, for agreement.py: records in, a verdict per record out.
 *
 * Record: one byte kind of message (t r o c f l), a 4-byte big-endian length, the message. Answer, one line: "ok <hex>" with
 * the message encoded again, or "bad <field>\t<message>". Leases are written by Lua only: here again is what was
 * understood, in a line of all twelve fields, with 0 as the slot, which nobody reads. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_line.h"
#include "wire/frame.h"
#include "wire/result.h"
#include "wire/task.h"

#define RECORD_MAX_BYTES (4 * 1024 * 1024) /* a test of "too large" needs more than any limit */

struct answer {
	bool is_good;
	struct buf again;
	char field[64];
	char message[160];
};

static void check_task(const uint8_t *data, size_t len, struct answer *answer)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct task_flaw flaw;

	answer->is_good = task_decode(data, len, &task, &flaw) == TASK_VERDICT_OK;
	if (answer->is_good)
		assert(task_encode(task, &answer->again) == 0);
	memcpy(answer->field, flaw.field, sizeof(flaw.field));
	memcpy(answer->message, flaw.message, sizeof(flaw.message));
}

/* The other decoders answer "field: message" in one. */
static void split_why(const char *why, struct answer *answer)
{
	size_t field = strcspn(why, ": ");
	bool has_field = strncmp(why + field, ": ", 2) == 0;

	(void)snprintf(answer->field, sizeof(answer->field), "%.*s", has_field ? (int)field : 0, why);
	(void)snprintf(answer->message, sizeof(answer->message), "%s", has_field ? why + field + 2 : why);
}

static void check_result(const uint8_t *data, size_t len, struct answer *answer)
{
	struct result result;
	char why[160] = "";

	answer->is_good = result_decode(data, len, &result, why) == 0;
	if (answer->is_good)
		assert(result_encode(&result, &answer->again) == 0);
	result_clear(&result);
	split_why(why, answer);
}

static void check_output(const uint8_t *data, size_t len, struct answer *answer)
{
	struct output_chunk chunk;
	char why[160] = "";

	answer->is_good = output_decode(data, len, &chunk, why) == 0;
	if (answer->is_good)
		assert(output_encode(&chunk, &answer->again) == 0);
	split_why(why, answer);
}

static void check_control(const uint8_t *data, size_t len, struct answer *answer)
{
	struct control control;
	char why[160] = "";

	answer->is_good = control_decode(data, len, &control, why) == 0;
	if (answer->is_good)
		assert(control_encode(&control, &answer->again) == 0);
	split_why(why, answer);
}

static void check_frame(const uint8_t *data, size_t len, struct answer *answer)
{
	int64_t extent = frame_extent(data, len);
	char why[160] = "the length is out of bounds";
	struct frame frame;

	if (extent == (int64_t)len && extent > 0) {
		answer->is_good = frame_decode(data, len, &frame, why) == 0;
		if (answer->is_good) {
			assert(frame_encode(&frame, &answer->again) == 0);
			frame_clear(&frame);
		}
	}
	split_why(why, answer);
}

static void check_lease(const uint8_t *data, size_t len, struct answer *answer)
{
	struct reap_lease lease;
	struct err err = { .msg = "" };
	char line[1024];
	int n;

	answer->is_good = lease_line_parse((const char *)data, len, &lease, &err) == 0;
	split_why(err.msg, answer);
	if (!answer->is_good)
		return;
	n = snprintf(line, sizeof(line), "%s %s %" PRIu64 " %" PRIu32 " %s 0 %" PRIu64 " %s %" PRId32 " %" PRId64 " %s %s %032d %s %s",
		     reap_state_name(lease.state), lease.owner, lease.token, lease.attempt, lease.host,
		     lease.expires_ms, lease.topic, lease.partition, lease.offset, lease.victim,
		     lease.is_key_destroyed ? "destroyed" : "-", 0, lease.vm_id, lease.tenant);
	assert(buf_append(&answer->again, line, (size_t)n) == 0);
}

static bool check(char kind, const uint8_t *data, size_t len, struct answer *answer)
{
	switch (kind) {
	case 't':
		check_task(data, len, answer);
		return true;
	case 'r':
		check_result(data, len, answer);
		return true;
	case 'o':
		check_output(data, len, answer);
		return true;
	case 'c':
		check_control(data, len, answer);
		return true;
	case 'f':
		check_frame(data, len, answer);
		return true;
	case 'l':
		check_lease(data, len, answer);
		return true;
	default:
		return false;
	}
}

static void print_answer(const struct answer *answer)
{
	if (!answer->is_good) {
		printf("bad %s\t%s\n", answer->field, answer->message);
		return;
	}
	fputs("ok ", stdout);
	for (size_t i = 0; i < answer->again.len; i++)
		printf("%02x", answer->again.data[i]);
	putchar('\n');
}

int main(void)
{
	char kind;

	while (fread(&kind, 1, 1, stdin) == 1) {
		struct answer answer = { .is_good = false };
		cleanup_free uint8_t *data = NULL; /* exact size, so that a sanitizer sees a read beyond it */
		uint32_t len;

		if (fread(&len, sizeof(len), 1, stdin) != 1 || ntohl(len) > RECORD_MAX_BYTES)
			return 2;
		len = ntohl(len);
		data = malloc(len ? len : 1);
		if (!data || fread(data, 1, len, stdin) != len || !check(kind, data, len, &answer))
			return 2;
		print_answer(&answer);
		buf_free(&answer.again);
	}
	return 0;
}
