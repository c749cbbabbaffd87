#include "tests/support/guest_run.h"

#include <string.h>

#include "tests/unit/unit.h"

#define OUTPUT_LIMIT (16u << 20)
#define TEXT(literal)                                     \
	{                                                 \
		.text = (literal), .len = strlen(literal) \
	}

struct guest_vm vm;
struct guest_result result;
uint32_t exec;

void boot(const char *image, unsigned memory_mib, unsigned disk_mib)
{
	guest_vm_start(&vm, image, memory_mib, disk_mib);
	guest_vm_setup(&vm);
	exec = 0;
}

void send_run(const struct plan *plan)
{
	struct frame_text shell[] = { TEXT("/bin/sh"), TEXT("-c"), TEXT(plan->script ? plan->script : ""),
				     TEXT("sh"), TEXT(plan->argument ? plan->argument : "") };
	struct frame_text program[] = { TEXT(plan->program ? plan->program : "") };
	struct frame_pair env[] = { { TEXT("GREETING"), TEXT("hello there") } };
	struct frame run = { .type = FRAME_RUN,
			     .exec = ++exec,
			     .argv = plan->program ? program : shell,
			     .n_argv = plan->program ? 1 : plan->argument ? 5 : 4,
			     .env = env,
			     .n_env = 1,
			     .timeout_ms = plan->timeout_ms ? plan->timeout_ms : 120000,
			     .output_limit_bytes = plan->output_limit_bytes ? plan->output_limit_bytes : OUTPUT_LIMIT,
			     .window = FRAME_WINDOW_BYTES,
			     .oom_ends_one = plan->oom_ends_one };
	const char *input = plan->input ? plan->input : "";
	size_t left = strlen(input), sent = 0;

	guest_vm_send(&vm, &run);
	do {
		struct frame piece = { .type = FRAME_STDIN,
				       .exec = exec,
				       .offset = sent,
				       .data = (const uint8_t *)input,
				       .len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX };

		piece.is_last = piece.len == left;
		guest_vm_send(&vm, &piece);
		input += piece.len;
		sent += piece.len;
		left -= piece.len;
	} while (left);
}

static void keep(const struct frame *frame)
{
	struct guest_stream *kept = &result.streams[frame->stream - 1];
	size_t room = sizeof(kept->text) - 1 - kept->len, len = frame->len < room ? frame->len : room;

	assert_int_equal(frame->offset, kept->total);
	memcpy(kept->text + kept->len, frame->data, len);
	kept->len += len;
	kept->total += frame->len;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = frame->exec, .stream = frame->stream, .offset = kept->total });
}

bool take(const struct frame *frame)
{
	switch ((int)frame->type) {
	case FRAME_STARTED:
		result.is_started = true;
		return true;
	case FRAME_OUT:
		keep(frame);
		return true;
	case FRAME_EXIT:
		result.exit = *frame;
		(void)snprintf(result.oom_process, sizeof(result.oom_process), "%.*s", (int)frame->oom_process.len,
			       frame->oom_process.text);
		return false;
	case FRAME_FAIL:
		(void)snprintf(result.failure, sizeof(result.failure), "%.*s", (int)frame->error.len,
			       frame->error.text);
		(void)snprintf(result.missing, sizeof(result.missing), "%.*s", (int)frame->missing.len, frame->missing.text);
		return false;
	default:
		fail_msg("'%s' during a run", frame_type_name(frame->type));
		return false;
	}
}

void run_plan(struct plan plan)
{
	const struct frame *frame;

	memset(&result, 0, sizeof(result));
	send_run(&plan);
	do {
		frame = guest_vm_next(&vm);
		assert_non_null(frame);
	} while (take(frame));
}

void run_script(const char *script)
{
	run_plan((struct plan){ .script = script });
}

void assert_exit(uint32_t code)
{
	assert_string_equal(result.failure, "");
	assert_true(result.is_started);
	assert_true(result.exit.has_exit_code);
	assert_int_equal(result.exit.exit_code, code);
}

void assert_out(const char *text)
{
	assert_string_equal(result.streams[0].text, text);
}
