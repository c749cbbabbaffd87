#include "tests/support/guest_run.h"

#include <string.h>

#define OUTPUT_LIMIT (16u << 20)
#define IMAGE	     "base"

struct guest_vm vm;
uint32_t exec;
struct guest_result *result;

static struct guest_result results[GUEST_RUN_RESULTS];
static unsigned test_memory_mib, test_disk_mib;

struct guest_result *result_of(uint32_t id)
{
	assert_in_range(id, exec < GUEST_RUN_RESULTS ? 1 : exec - GUEST_RUN_RESULTS + 1, exec);
	return &results[id % GUEST_RUN_RESULTS];
}

void boot(const char *image, unsigned memory_mib, unsigned disk_mib)
{
	guest_vm_start(&vm, image, memory_mib, disk_mib);
	guest_vm_setup(&vm);
	exec = 0;
	result = &results[0];
}

int boot_for_test(void **state)
{
	(void)state;
	boot(IMAGE, test_memory_mib, test_disk_mib);
	return 0;
}

int end_after_test(void **state)
{
	(void)state;
	guest_vm_end(&vm);
	return 0;
}

int guest_tests(const struct CMUnitTest *tests, size_t n_tests, unsigned memory_mib, unsigned disk_mib, int argc,
		char **argv)
{
	const char *missing = guest_vm_missing(IMAGE);

	if (missing) {
		print_message("skipped: %s\n", missing);
		return getenv("MAYFLY_MUST_RUN") ? 1 : 77;
	}
	test_memory_mib = memory_mib;
	test_disk_mib = disk_mib;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests(argv[0], tests, n_tests, NULL, end_after_test);
}

void send_input(uint32_t id, const char *input, bool is_last)
{
	struct guest_result *of = result_of(id);
	size_t left = strlen(input);

	do {
		struct frame piece = { .type = FRAME_STDIN,
				       .exec = id,
				       .offset = of->stdin_bytes,
				       .data = (const uint8_t *)input,
				       .len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX };

		piece.is_last = is_last && piece.len == left;
		guest_vm_send(&vm, &piece);
		input += piece.len;
		of->stdin_bytes += piece.len;
		left -= piece.len;
	} while (left);
}

uint32_t send_run(const struct plan *plan)
{
	struct frame_text shell[] = { TEXT("/bin/sh"), TEXT("-c"), TEXT(plan->script ? plan->script : ""),
				      TEXT("sh"), TEXT(plan->argument ? plan->argument : "") };
	struct frame_text program[] = { TEXT(plan->program ? plan->program : "") };
	struct frame_pair env[] = { { TEXT("GREETING"), TEXT("hello there") }, { TEXT("PATH"),
			TEXT(plan->path ? plan->path : "") } };
	struct frame run = { .type = FRAME_RUN,
			     .exec = ++exec,
			     .argv = plan->program ? program : shell,
			     .n_argv = plan->program ? 1 : plan->argument ? 5 : 4,
			     .env = env,
			     .n_env = plan->path ? 2 : 1,
			     .timeout_ms = plan->timeout_ms ? plan->timeout_ms : 120000,
			     .output_limit_bytes = plan->output_limit_bytes ? plan->output_limit_bytes : OUTPUT_LIMIT,
			     .window = FRAME_WINDOW_BYTES,
			     .oom_ends_one = plan->oom_ends_one };

	result = result_of(exec);
	*result = (struct guest_result){ .is_unacknowledged = plan->is_unacknowledged };
	guest_vm_send(&vm, &run);
	send_input(exec, plan->input ? plan->input : "", !plan->has_more_input);
	return exec;
}

static void keep(struct guest_result *of, const struct frame *frame)
{
	struct guest_stream *kept = &of->streams[frame->stream - 1];
	size_t room = sizeof(kept->text) - 1 - kept->len, len = frame->len < room ? frame->len : room;

	assert_int_equal(frame->offset, kept->total);
	if (of->expected && frame->stream == 1) {
		assert_true(kept->total + frame->len <= strlen(of->expected));
		assert_memory_equal(frame->data, of->expected + kept->total, frame->len);
	}
	memcpy(kept->text + kept->len, frame->data, len);
	kept->len += len;
	kept->total += frame->len;
	if (!of->is_unacknowledged)
		guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = frame->exec, .stream = frame->stream,
						    .offset = kept->total });
}

static void take_exit(struct guest_result *of, const struct frame *frame)
{
	of->exit = *frame;
	(void)snprintf(of->oom_process, sizeof(of->oom_process), "%.*s", (int)frame->oom_process.len,
		       frame->oom_process.text);
	of->is_over = true;
}

static void take_fail(struct guest_result *of, const struct frame *frame)
{
	(void)snprintf(of->failure, sizeof(of->failure), "%.*s", (int)frame->error.len, frame->error.text);
	(void)snprintf(of->missing, sizeof(of->missing), "%.*s", (int)frame->missing.len, frame->missing.text);
	of->is_over = true;
}

void take(const struct frame *frame)
{
	assert_non_null(frame); /* else the VM ended */
	if (frame->exec == 0)
		fail_msg("'%s' about the whole guest: %.*s", frame_type_name(frame->type), (int)frame->error.len,
			 frame->error.text);
	if (frame->type == FRAME_STARTED)
		result_of(frame->exec)->is_started = true;
	else if (frame->type == FRAME_OUT)
		keep(result_of(frame->exec), frame);
	else if (frame->type == FRAME_EXIT)
		take_exit(result_of(frame->exec), frame);
	else if (frame->type == FRAME_FAIL)
		take_fail(result_of(frame->exec), frame);
	else
		fail_msg("'%s' during a run", frame_type_name(frame->type));
}

void finish(uint32_t id)
{
	while (!result_of(id)->is_over)
		take(guest_vm_next(&vm));
}

void await_start(uint32_t id)
{
	while (!result_of(id)->is_started && !result_of(id)->is_over)
		take(guest_vm_next(&vm));
	assert_string_equal(result_of(id)->failure, "");
}

void await_output(uint32_t id, const char *text)
{
	while (result_of(id)->streams[0].total < strlen(text) && !result_of(id)->is_over)
		take(guest_vm_next(&vm));
	assert_string_equal(result_of(id)->streams[0].text, text);
}

void run_plan(struct plan plan)
{
	if (exec && result_of(exec)->is_over) /* makes room */
		guest_vm_send(&vm, &(struct frame){ .type = FRAME_END, .exec = exec });
	finish(send_run(&plan));
}

void run_script(const char *script)
{
	run_plan((struct plan){ .script = script });
}

void assert_exit(uint32_t code)
{
	assert_string_equal(result->failure, "");
	assert_true(result->is_started);
	assert_true(result->exit.has_exit_code);
	assert_int_equal(result->exit.exit_code, code);
}

void assert_out(const char *text)
{
	assert_string_equal(result->streams[0].text, text);
}
