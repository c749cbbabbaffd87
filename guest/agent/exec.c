#include "guest/agent/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"

void exec_open(struct exec *exec, uint32_t id)
{
	*exec = (struct exec){ .id = id, .is_heard = true, .put.fd = -1 };
	program_init(&exec->program);
}

static void exec_close(struct exec *exec)
{
	put_cancel(&exec->put);
	collect_cancel(&exec->collect);
	program_close(&exec->program);
	exec->id = 0;
}

/* Nobody wants what it says, or says to it: it dies. */
static void abandon(struct exec *exec)
{
	put_cancel(&exec->put);
	collect_cancel(&exec->collect);
	program_signal(&exec->program, SIGKILL);
	output_close(&exec->program.output);
}

void exec_fail(struct exec *exec, const char *why)
{
	if (exec->failure[0] || exec->is_let_go)
		return;
	(void)snprintf(exec->failure, sizeof(exec->failure), "%s", why);
	abandon(exec);
}

void exec_detach(struct exec *exec)
{
	exec->is_heard = exec->is_exit_said = false;
	put_cancel(&exec->put);
	collect_cancel(&exec->collect);
}

struct frame exec_status(const struct exec *exec)
{
	const struct program *program = &exec->program;

	return (struct frame){ .type = FRAME_STATUS,
			       .exec = exec->id,
			       .is_running = program_is_alive(program),
			       .is_started = exec->is_start_said,
			       .stdin_bytes = program->input.received,
			       .stdout_bytes = program->output.streams[0].acknowledged,
			       .stderr_bytes = program->output.streams[1].acknowledged };
}

static int take_run(struct exec *exec, const struct frame *frame, struct memory *memory, struct err *err)
{
	if (exec->put.fd >= 0)
		return err_set(err, ERR_BUG, 0, "the file '%s' did not come to its end before the program",
			       exec->put.path);
	return program_start(&exec->program, frame, memory, err);
}

static int take_collect(struct exec *exec, const struct frame *frame, struct err *err)
{
	int r = collect_begin(&exec->collect, frame);

	return r < 0 ? err_set(err, ERR_INPUT, -r, "collect %zu files", frame->n_paths) : 0;
}

static int take_resume(struct exec *exec, const struct frame *frame, struct err *err)
{
	exec->is_heard = true;
	if (!exec->failure[0] && !output_resume(&exec->program.output, frame))
		return err_set(err, ERR_BUG, 0, "its output cannot be resumed from where the engine wants it");
	return 0;
}

static void take_end(struct exec *exec)
{
	exec->is_let_go = true;
	abandon(exec);
	if (!program_is_alive(&exec->program))
		exec_close(exec); /* at once: the next frame may begin another in its place */
}

static int take_for_program(struct exec *exec, const struct frame *frame, struct err *err)
{
	if (frame->type == FRAME_STDIN)
		return input_take(&exec->program.input, frame, err);
	if (frame->type == FRAME_ACK)
		output_acknowledge(&exec->program.output, frame);
	else
		program_signal(&exec->program, (int)frame->signal);
	return 0;
}

static int take_heard(struct exec *exec, const struct frame *frame, struct memory *memory, struct err *err)
{
	bool is_new = exec->program.state == PROGRAM_NONE;
	bool is_for_program = frame->type == FRAME_STDIN || frame->type == FRAME_ACK || frame->type == FRAME_KILL;

	if (!exec->is_heard) {
		exec->is_heard = true; /* to be told */
		return err_set(err, ERR_BUG, 0, "a '%s' frame came before 'resume'", frame_type_name(frame->type));
	}
	if (frame->type == FRAME_PUT && is_new)
		return put_piece(&exec->put, frame, err);
	if (frame->type == FRAME_RUN && is_new)
		return take_run(exec, frame, memory, err);
	if (is_for_program && !is_new) /* also when it just ended: they crossed its exit */
		return take_for_program(exec, frame, err);
	if (frame->type == FRAME_COLLECT && exec->is_exit_said && !exec->collect.exec)
		return take_collect(exec, frame, err);
	return err_set(err, ERR_BUG, 0, "a '%s' frame does not belong here", frame_type_name(frame->type));
}

int exec_take(struct exec *exec, const struct frame *frame, struct memory *memory, struct err *err)
{
	if (exec->is_let_go)
		return 0;
	if (frame->type == FRAME_END)
		take_end(exec);
	else if (frame->type == FRAME_RESUME && !exec->is_heard)
		return take_resume(exec, frame, err);
	else if (!exec->failure[0]) /* else they crossed its fail */
		return take_heard(exec, frame, memory, err);
	return 0;
}

static void say_fail(struct exec *exec, struct connection *connection)
{
	const struct frame frame = { .type = FRAME_FAIL,
				     .exec = exec->id,
				     .error = { .text = exec->failure, .len = strlen(exec->failure) },
				     .missing = { .text = exec->missing, .len = strlen(exec->missing) } };

	if (connection_send(connection, &frame) == 0) /* else at the next turn */
		exec_close(exec);
}

static int say_start(struct exec *exec, struct connection *connection)
{
	int r = 0;

	if (exec->program.is_started && !exec->is_start_said)
		r = connection_send(connection, &(struct frame){ .type = FRAME_STARTED, .exec = exec->id });
	exec->is_start_said = r == 0 && exec->program.is_started;
	return r;
}

static int say_exit(struct exec *exec, struct connection *connection)
{
	struct frame frame;
	int r;

	if (exec->program.state != PROGRAM_ENDED || exec->is_exit_said || !output_is_sent(&exec->program.output))
		return 0;
	frame = program_exit(&exec->program);
	r = connection_send(connection, &frame);
	exec->is_exit_said = r == 0;
	return r;
}

static int say_what_there_is(struct exec *exec, struct connection *connection)
{
	int r = say_start(exec, connection);

	if (r == 0)
		r = output_send(&exec->program.output, connection);
	if (r == 0)
		r = say_exit(exec, connection);
	if (r == 0 && exec->collect.exec)
		r = collect_step(&exec->collect, connection);
	if (exec->is_exit_said && output_is_acknowledged(&exec->program.output))
		output_close(&exec->program.output);
	return r;
}

void exec_step(struct exec *exec, struct connection *connection)
{
	struct program *program = &exec->program;
	struct err err;

	if (program_step(program, &err) < 0) {
		memcpy(exec->missing, program->launch.missing, sizeof(exec->missing));
		exec_fail(exec, err.msg);
	}
	if (exec->is_let_go) {
		if (!program_is_alive(program))
			exec_close(exec);
	} else if (exec->failure[0]) {
		if (exec->is_heard && !program_is_alive(program))
			say_fail(exec, connection);
	} else if (exec->is_heard && say_what_there_is(exec, connection) < 0) {
		exec_fail(exec, "no memory to send what it has");
	}
}

static bool has_more_to_say(const struct exec *exec)
{
	return exec->is_heard && !exec->failure[0] && (!output_is_sent(&exec->program.output) || exec->collect.exec);
}

unsigned exec_poll(const struct exec *exec, const struct connection *connection, struct pollfd fds[EXEC_FDS_MAX], int *ret_ms)
{
	unsigned n = program_poll(&exec->program, fds, ret_ms);

	if (has_more_to_say(exec) && connection_has_room(connection))
		*ret_ms = 0;
	return n;
}
