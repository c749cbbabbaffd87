/* Programs in a guest: the part of the conversation of wire/frame.h that carries an exec id. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/workspace/exec_private.h"

#define LAUNCH_MS 60000	   /* input files and exec: up to 1 MB through virtio-serial */
#define RUN_SLACK_MS 10000 /* the agent kills at timeout_ms; then the engine */

uint64_t exec_longest_ms(const struct task *program)
{
	return LAUNCH_MS + program->timeout_ms + RUN_SLACK_MS + EXEC_COLLECT_MS;
}

static void send_stdin(struct exec *exec)
{
	const struct task *program = exec->config.program;
	size_t sent = 0;

	do {
		size_t left = program->stdin_len - sent;
		struct frame frame = { .type = FRAME_STDIN, .exec = exec->program.exec, .offset = sent };

		frame.len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX;
		frame.data = left ? program->stdin_data + sent : NULL;
		frame.is_last = frame.len == left;
		workspace_send(exec->config.workspace, &frame);
		sent += frame.len;
	} while (sent < program->stdin_len);
}

static void send_run(struct exec *exec)
{
	const struct task *program = exec->config.program;
	struct frame_text argv[TASK_MAX_ARGS];
	struct frame_pair env[TASK_MAX_ENV];
	struct frame frame = { .type = FRAME_RUN,
			       .exec = exec->program.exec,
			       .argv = argv,
			       .n_argv = program->n_argv,
			       .env = env,
			       .n_env = program->n_env,
			       .timeout_ms = program->timeout_ms,
			       .output_limit_bytes = program->output_limit_bytes,
			       .window = FRAME_WINDOW_BYTES,
			       .oom_ends_one = program->oom == TASK_OOM_PROCESS };

	for (size_t i = 0; i < program->n_argv; i++)
		argv[i] = (struct frame_text){ .text = program->argv[i].text, .len = strlen(program->argv[i].text) };
	for (size_t i = 0; i < program->n_env; i++) {
		env[i].key = (struct frame_text){ .text = program->env[i].key, .len = strlen(program->env[i].key) };
		env[i].value = (struct frame_text){ .text = program->env[i].value, .len = strlen(program->env[i].value) };
	}
	workspace_send(exec->config.workspace, &frame);
}

static void take_started(struct exec *exec)
{
	exec->outcome.has_run = true;
	exec_mark_timing(exec, RESULT_TIMING_LAUNCH);
	exec_enter(exec, EXEC_RUNNING, exec->config.program->timeout_ms + RUN_SLACK_MS);
	exec->config.events->on_started(exec->config.ctx);
}

static void take_oom(struct exec_outcome *outcome, const struct frame *frame)
{
	outcome->is_oom = frame->is_oom;
	outcome->oom_kills = frame->oom_kills;
	outcome->memory_kib = frame->memory_kib;
	if (frame->oom_pid)
		(void)snprintf(outcome->oom_process, sizeof(outcome->oom_process), "'%.*s' (process %u)", (int)frame->oom_process.len,
			       frame->oom_process.text, frame->oom_pid);
}

static void take_exit(struct exec *exec, const struct frame *frame)
{
	struct result *result = exec->config.result;

	exec_mark_timing(exec, RESULT_TIMING_RUN);
	exec_enter(exec, EXEC_EXITED, 0);
	result->has_exit_code = frame->has_exit_code;
	result->exit_code = frame->exit_code;
	result->has_signal = !frame->has_exit_code;
	result->signal = frame->signal;
	result->out.bytes = frame->stdout_bytes;
	result->err_out.bytes = frame->stderr_bytes;
	result->cpu_ms = frame->cpu_ms;
	result->max_rss_kib = frame->max_rss_kib;
	exec->outcome.is_timed_out = frame->is_timed_out;
	take_oom(&exec->outcome, frame);
	exec->config.events->on_exited(exec->config.ctx);
}

static void take_fail(struct exec *exec, const struct frame *frame)
{
	char why[256], missing[FRAME_MISSING_MAX + 1];

	(void)snprintf(why, sizeof(why), "%.*s", (int)frame->error.len, frame->error.text); /* cut at its size */
	(void)snprintf(missing, sizeof(missing), "%.*s", (int)frame->missing.len, frame->missing.text);
	if (exec->state == EXEC_LAUNCHING)
		exec->config.events->on_failed(exec->config.ctx, why, missing);
	else
		workspace_guest_fault(exec->config.workspace, why);
}

static void take_collected(struct exec *exec)
{
	exec_mark_timing(exec, RESULT_TIMING_COLLECT);
	exec->config.events->on_collected(exec->config.ctx);
}

static bool on_frame(void *ctx, const struct frame *frame)
{
	struct exec *exec = ctx;

	if (!exec->config.events->is_wanted(exec->config.ctx))
		return true;
	if (frame->type == FRAME_FAIL)
		take_fail(exec, frame);
	else if (frame->type == FRAME_STARTED && exec->state == EXEC_LAUNCHING)
		take_started(exec);
	else if (frame->type == FRAME_OUT && exec->state == EXEC_RUNNING)
		return exec_output_take(exec, frame);
	else if (frame->type == FRAME_EXIT && exec->state == EXEC_RUNNING)
		take_exit(exec, frame);
	else if (frame->type == FRAME_FILE && exec->state == EXEC_COLLECTING)
		exec_files_take(exec, frame);
	else if (frame->type == FRAME_COLLECTED && exec->state == EXEC_COLLECTING)
		take_collected(exec);
	else
		workspace_guest_fault(exec->config.workspace, "its agent spoke out of turn");
	return true;
}

static void guest_start(struct exec *exec)
{
	if (exec_output_begin(exec) < 0) {
		workspace_guest_fault(exec->config.workspace, "no memory for its output's digests");
		return;
	}
	exec->program.on_frame = on_frame;
	exec->program.ctx = exec;
	workspace_join(exec->config.workspace, &exec->program);
	exec_enter(exec, EXEC_LAUNCHING, LAUNCH_MS);
	exec_files_send(exec);
	send_run(exec);
	send_stdin(exec);
	exec->outcome.may_run = true;
}

/* What still runs of it is killed, the agent forgets it. */
static void guest_end(struct exec *exec)
{
	const struct frame frame = { .type = FRAME_END, .exec = exec->program.exec };

	if (frame.exec)
		workspace_send(exec->config.workspace, &frame);
	workspace_leave(&exec->program);
	exec_output_end(exec);
}

/* The owner knows what it means in which state. */
static void late(struct exec *exec)
{
	exec->config.events->on_late(exec->config.ctx);
}

const struct exec_transport exec_in_guest = { .start = guest_start, .collect = exec_files_ask, .late = late, .end = guest_end };
