#include "guest/agent/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/cgroup.h"
#include "guest/agent/disk.h"
#include "guest/agent/launch.h"

#define ENDING_POLL_MS 10   /* for the one event that no descriptor tells: the cgroup is empty */
#define STALL_MS       1000 /* without an acknowledgement: more than flow control, and not the program's time */
#define PUMPS_PER_STEP 16   /* one chatty program does not keep the agent from its other work */

static int set_up_pipe(int fds[2], int agents_end)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Owned by the task, so that it can open /dev/stdout. Blocking is a property of each end: ours does not. */
	if (fchown(fds[0], TASK_UID, TASK_GID) < 0 || fcntl(fds[agents_end], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static void take_ends(struct program *program, int pipes[3][2])
{
	program->stdin_fd = take_fd(&pipes[0][1]);
	program->output.pipes[0].fd = take_fd(&pipes[1][0]);
	program->output.pipes[1].fd = take_fd(&pipes[2][0]);
}

static int set_up_pipes(int pipes[3][2], struct err *err)
{
	int r = 0;

	for (int i = 0; r == 0 && i < 3; i++)
		r = set_up_pipe(pipes[i], i == 0 ? 1 : 0);
	return r < 0 ? err_set(err, ERR_HOST, -r, "pipes for the program's standard streams") : 0;
}

static int launch_in_cgroup(struct program *program, const struct frame *frame, int pipes[3][2], struct err *err)
{
	struct launch launch = { .run = frame,
				 .cgroup = CGROUP_TASK,
				 .stdio_fds = { pipes[0][0], pipes[1][1], pipes[2][1] } };
	int r = cgroup_make(err);

	if (r == 0)
		r = memory_limit(&program->memory, !frame->oom_ends_one, err);
	if (r == 0)
		r = launch_program(&launch, &program->pid, err);
	if (r < 0)
		memcpy(program->missing, launch.missing, sizeof(program->missing));
	return r;
}

int program_start(struct program *program, const struct frame *frame, struct err *err)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int r;

	*program = (struct program){ .stdin_fd = -1,
				     .stdin_bytes.max = TASK_MAX_BYTES,
				     .memory = { .events_fd = -1, .log_fd = -1 },
				     .output = { .pipes = { { .fd = -1 }, { .fd = -1 } },
						 .exec = frame->exec,
						 .limit_bytes = frame->output_limit_bytes,
						 .window = frame->window } };
	program->started_ms = clock_mono_ms();
	program->deadline_ms = program->started_ms + frame->timeout_ms;
	r = set_up_pipes(pipes, err);
	if (r == 0)
		r = launch_in_cgroup(program, frame, pipes, err);
	if (r == 0) {
		take_ends(program, pipes);
		program->state = PROGRAM_RUNNING;
	} else {
		memory_close(&program->memory);
	}
	for (int i = 0; i < 6; i++)
		close_fd(&pipes[i / 2][i % 2]);
	return r;
}

int program_feed(struct program *program, const struct frame *frame)
{
	int r = 0;

	if (program->state != PROGRAM_RUNNING || program->stdin_fd < 0)
		return 0; /* it ended, or closed its stdin: nobody wants this */
	r = buf_append(&program->stdin_bytes, frame->data, frame->len);
	program->is_stdin_complete |= frame->is_last;
	return r == -E2BIG ? -ENOBUFS : r;
}

static void close_stdin(struct program *program)
{
	close_fd(&program->stdin_fd);
	buf_free(&program->stdin_bytes);
}

static void pump_stdin(struct program *program)
{
	while (program->stdin_fd >= 0 && program->stdin_bytes.len) {
		ssize_t n = write(program->stdin_fd, program->stdin_bytes.data, program->stdin_bytes.len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			close_stdin(program); /* EPIPE: the program closed it */
		else if (n > 0)
			buf_consume(&program->stdin_bytes, (size_t)n);
	}
	if (program->is_stdin_complete)
		close_stdin(program);
}

void program_kill(struct program *program)
{
	if (program->state != PROGRAM_RUNNING && program->state != PROGRAM_ENDING)
		return;
	cgroup_kill();
}

static void begin_ending(struct program *program, int wait_status)
{
	program->wait_status = wait_status;
	program->run_ms = clock_mono_ms() - program->started_ms;
	program->state = PROGRAM_ENDING;
	close_stdin(program);
	program_kill(program);
}

static void reap(struct program *program)
{
	struct rusage usage;
	int wait_status;
	pid_t pid;

	while ((pid = wait4(-1, &wait_status, WNOHANG, &usage)) > 0) {
		program->cpu_us += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
				   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
		if ((uint64_t)usage.ru_maxrss > program->max_rss_kib)
			program->max_rss_kib = (uint64_t)usage.ru_maxrss;
		if (program->state == PROGRAM_RUNNING && pid == program->pid)
			begin_ending(program, wait_status);
	}
}

/* 1: both pipes are empty, and nobody is left to write into them. 0: the host has to take some first. */
static int drain(struct program *program, struct channel *channel)
{
	for (unsigned which = 0; which < 2; which++) {
		int r = 1;

		while (r == 1)
			r = output_pump(&program->output, which, channel);
		if (r < 0)
			return r;
		if (program->output.pipes[which].fd >= 0 && !output_is_wanted(&program->output, channel))
			return 0;
	}
	return 1;
}

static int pump_output(struct program *program, struct channel *channel)
{
	for (unsigned which = 0; which < 2; which++) {
		int r = 1;

		for (int i = 0; r == 1 && i < PUMPS_PER_STEP; i++)
			r = output_pump(&program->output, which, channel);
		if (r < 0)
			return r;
	}
	return 0;
}

static int step_ending(struct program *program, struct channel *channel)
{
	int r;

	if (cgroup_is_populated())
		return pump_output(program, channel);
	r = drain(program, channel);
	if (r == 1)
		program->state = PROGRAM_ENDED;
	return r < 0 ? r : 0;
}

/* Before and after each pump: time in which the host takes no output (a message queue that stands still) does not count. */
static void mind_stall(struct program *program, const struct channel *channel, uint64_t now_ms)
{
	if (output_is_stalled(&program->output, channel)) {
		if (!program->stalled_ms)
			program->stalled_ms = now_ms;
		return;
	}
	if (program->stalled_ms && now_ms - program->stalled_ms >= STALL_MS)
		program->deadline_ms += now_ms - program->stalled_ms;
	program->stalled_ms = 0;
}

static void mind_deadline(struct program *program, const struct channel *channel)
{
	uint64_t now_ms = clock_mono_ms();

	mind_stall(program, channel, now_ms);
	if (program->stalled_ms || program->is_timed_out || now_ms < program->deadline_ms)
		return;
	program->is_timed_out = true;
	program_kill(program);
}

int program_step(struct program *program, struct channel *channel)
{
	int r;

	reap(program);
	if (program->state == PROGRAM_ENDING)
		return step_ending(program, channel);
	if (program->state != PROGRAM_RUNNING)
		return 0;
	mind_deadline(program, channel);
	(void)memory_step(&program->memory); /* whom it killed is reaped like any other */
	pump_stdin(program);
	r = pump_output(program, channel);
	mind_stall(program, channel, clock_mono_ms());
	return r;
}

static int patience_ms(const struct program *program, int memory_ms)
{
	uint64_t now_ms = clock_mono_ms(), left_ms;

	if (program->state == PROGRAM_ENDING)
		return ENDING_POLL_MS;
	if (program->state != PROGRAM_RUNNING || program->is_timed_out)
		return -1;
	if (program->stalled_ms)
		return memory_ms;
	if (program->deadline_ms <= now_ms)
		return 0;
	left_ms = program->deadline_ms - now_ms;
	if (memory_ms >= 0 && (uint64_t)memory_ms < left_ms)
		return memory_ms;
	return left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
}

unsigned program_poll(const struct program *program, const struct channel *channel, struct pollfd fds[PROGRAM_FDS_MAX],
		      int *ret_ms)
{
	unsigned n = 0;
	int memory_ms = -1;

	if (program->state == PROGRAM_RUNNING)
		memory_poll(&program->memory, &fds[n++], &memory_ms);
	*ret_ms = patience_ms(program, memory_ms);
	if (program->state != PROGRAM_RUNNING && program->state != PROGRAM_ENDING)
		return 0;
	for (unsigned which = 0; which < 2; which++)
		if (program->output.pipes[which].fd >= 0 && output_is_wanted(&program->output, channel))
			fds[n++] = (struct pollfd){ .fd = program->output.pipes[which].fd, .events = POLLIN };
	if (program->stdin_fd >= 0 && program->stdin_bytes.len)
		fds[n++] = (struct pollfd){ .fd = program->stdin_fd, .events = POLLOUT };
	return n;
}

/* Its first process died of it: with everything else, or because it was the one that was chosen. A daemon that the kernel killed
 * after the program had ended was its own affair. */
static bool is_killed_for_memory(const struct program *program, uint64_t oom_kills)
{
	bool is_killed = WIFSIGNALED(program->wait_status) && WTERMSIG(program->wait_status) == SIGKILL;

	return is_killed && oom_kills && !program->is_timed_out;
}

int program_report(struct program *program, struct channel *channel)
{
	bool is_exit = WIFEXITED(program->wait_status);
	uint64_t cpu_us = cgroup_number("cpu.stat", "usage_usec"); /* also of what nobody waited for */
	uint64_t oom_kills = memory_kills(&program->memory);
	const struct memory_victim *victim = &program->memory.victim;
	struct frame frame = { .type = FRAME_EXIT,
			       .exec = program->output.exec,
			       .has_exit_code = is_exit,
			       .exit_code = is_exit ? (uint32_t)WEXITSTATUS(program->wait_status) : 0,
			       .signal = is_exit ? 0 : (uint32_t)WTERMSIG(program->wait_status),
			       .is_timed_out = program->is_timed_out,
			       .is_oom = is_killed_for_memory(program, oom_kills),
			       .oom_kills = oom_kills,
			       .oom_pid = (uint32_t)victim->pid,
			       .oom_process = { .text = victim->name, .len = strlen(victim->name) },
			       .memory_kib = program->memory.limit_kib,
			       .stdout_bytes = program->output.pipes[0].bytes,
			       .stderr_bytes = program->output.pipes[1].bytes,
			       .cpu_ms = (cpu_us ? cpu_us : program->cpu_us) / 1000,
			       .max_rss_kib = program->max_rss_kib,
			       .run_ms = program->run_ms };

	output_close(&program->output);
	memory_close(&program->memory);
	cgroup_remove();
	program->state = PROGRAM_NONE;
	return channel_send(channel, &frame);
}
