#include "guest/agent/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/mounts.h"
#include "guest/agent/warm.h"

#define ENDING_POLL_MS 10   /* how often an ending cgroup is asked whether it is empty */
#define STALL_MS       1000 /* without an acknowledgement: more than flow control, and not the program's time */

static const struct program none = { .launch.failure_fd = -1,
				     .input.fd = -1,
				     .output.streams = { { .fd = -1 }, { .fd = -1 } },
				     .memory.log_fd = -1 };

void program_init(struct program *program)
{
	*program = none;
}

static int set_up_pipe(int fds[2], int agents_end)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Owned by the task, so that it can open /dev/stdout. Blocking is a property of each end: ours does not. */
	if (fchown(fds[0], TASK_UID, TASK_GID) < 0 || fcntl(fds[agents_end], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int set_up_pipes(int pipes[3][2], struct err *err)
{
	int r = 0;

	for (int i = 0; r == 0 && i < 3; i++)
		r = set_up_pipe(pipes[i], i == 0 ? 1 : 0);
	return r < 0 ? err_set(err, ERR_HOST, -r, "pipes for the program's standard streams") : 0;
}

static int take_ends(struct program *program, const struct frame *run, int pipes[3][2], struct err *err)
{
	input_open(&program->input, take_fd(&pipes[0][1]));
	if (output_open(&program->output, run, take_fd(&pipes[1][0]), take_fd(&pipes[2][0])) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "keep the program's output");
	return 0;
}

static int launch(struct program *program, const struct frame *run, struct memory *memory, int pipes[3][2],
		  struct err *err)
{
	const int stdio_fds[3] = { pipes[0][0], pipes[1][1], pipes[2][1] };
	int r = memory_open(memory, err);

	if (r == 0)
		r = cgroup_make(&program->cgroup, run->exec, err);
	if (r == 0)
		r = memory_join(memory, &program->memory, run->exec, &program->cgroup, !run->oom_ends_one, err);
	if (r == 0)
		r = (warm_takes(run) ? warm_launch : launch_begin)(&program->launch, run, program->cgroup.path,
								   stdio_fds, err);
	return r;
}

int program_start(struct program *program, const struct frame *run, struct memory *memory, struct err *err)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int r;

	program_init(program);
	program->started_ms = clock_mono_ms();
	program->deadline_ms = program->started_ms + run->timeout_ms;
	r = set_up_pipes(pipes, err);
	if (r == 0)
		r = take_ends(program, run, pipes, err);
	if (r == 0)
		r = launch(program, run, memory, pipes, err);
	if (r == 0)
		program->state = PROGRAM_STARTING;
	else
		program_close(program);
	for (int i = 0; i < 6; i++)
		close_fd(&pipes[i / 2][i % 2]);
	return r;
}

bool program_is_unknown(const struct program *program)
{
	return program->state == PROGRAM_STARTING && !program->launch.pid;
}

bool program_is_alive(const struct program *program)
{
	return program->state == PROGRAM_STARTING || program->state == PROGRAM_RUNNING ||
		program->state == PROGRAM_ENDING;
}

void program_signal(struct program *program, int signal)
{
	if (!program_is_alive(program))
		return;
	if (signal == SIGKILL)
		cgroup_kill(&program->cgroup);
	/* Also of one that is on its way into the cgroup. It was not reaped, so its number is not another's. */
	if (!program->launch.pid)
		program->launch.is_to_be_killed |= signal == SIGKILL;
	else if (!program->is_reaped && (signal == SIGKILL || program->state == PROGRAM_RUNNING))
		(void)kill(program->launch.pid, signal);
}

void program_reap(struct program *program, pid_t pid)
{
	bool is_first = pid == program->launch.pid && !program->is_reaped;
	struct rusage usage;
	int wait_status;

	if (is_first && program->state == PROGRAM_STARTING)
		launch_look(&program->launch);
	if (wait4(pid, &wait_status, WNOHANG, &usage) != pid)
		return;
	if (program->state == PROGRAM_ENDED)
		return; /* its numbers are final: the cgroup's has this process */
	program->cpu_us += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	if ((uint64_t)usage.ru_maxrss > program->max_rss_kib)
		program->max_rss_kib = (uint64_t)usage.ru_maxrss;
	if (!is_first)
		return;
	program->is_reaped = true;
	program->wait_status = wait_status;
}

static void begin_ending(struct program *program)
{
	program->run_ms = clock_mono_ms() - program->started_ms;
	program->state = PROGRAM_ENDING;
	input_close(&program->input);
	program_signal(program, SIGKILL);
}

/* Once its cgroup is empty, and before that goes. */
static void end(struct program *program)
{
	uint64_t cpu_us = cgroup_number(&program->cgroup, "cpu.stat", "usage_usec"); /* also of what nobody waited for */

	program->cpu_us = cpu_us ? cpu_us : program->cpu_us;
	memory_leave(&program->memory);
	cgroup_remove(&program->cgroup);
	program->state = PROGRAM_ENDED;
}

static void step_ending(struct program *program)
{
	if (!program->is_reaped || cgroup_is_populated(&program->cgroup)) {
		output_read(&program->output);
		return;
	}
	output_finish(&program->output);
	output_read(&program->output);
	if (output_is_read(&program->output))
		end(program);
}

/* Before and after each reading: time in which the engine takes no output (a message queue that stands still) does
 * not count. */
static void mind_stall(struct program *program, uint64_t now_ms)
{
	if (output_is_stalled(&program->output)) {
		if (!program->stalled_ms)
			program->stalled_ms = now_ms;
		return;
	}
	if (program->stalled_ms && now_ms - program->stalled_ms >= STALL_MS)
		program->deadline_ms += now_ms - program->stalled_ms;
	program->stalled_ms = 0;
}

static void mind_deadline(struct program *program)
{
	uint64_t now_ms = clock_mono_ms();

	mind_stall(program, now_ms);
	if (program->stalled_ms || program->is_timed_out || now_ms < program->deadline_ms)
		return;
	program->is_timed_out = true;
	program_signal(program, SIGKILL);
}

static int step_starting(struct program *program, struct err *err)
{
	switch (launch_hear(&program->launch, err)) {
	case LAUNCH_UNDER_WAY:
		mind_deadline(program);
		if (program->is_timed_out && program_is_unknown(program))
			warm_give_up(); /* the pipe of reports ends with it */
		return 0;
	case LAUNCH_DONE:
		program->state = PROGRAM_RUNNING;
		program->is_started = true;
		return 0;
	case LAUNCH_FAILED:
		break;
	}
	program->is_reaped |= !program->launch.pid; /* there was none */
	begin_ending(program);
	if (program->is_timed_out)
		return err_set(err, ERR_INPUT, 0, "'%s' could not be executed within its timeout",
			       program->launch.name);
	return -ECHILD; /* `err` says why */
}

static void step_running(struct program *program)
{
	mind_deadline(program);
	input_write(&program->input);
	output_read(&program->output);
	mind_stall(program, clock_mono_ms());
	if (program->is_reaped)
		begin_ending(program);
}

int program_step(struct program *program, struct err *err)
{
	int r = program->state == PROGRAM_STARTING ? step_starting(program, err) : 0;

	if (program->state == PROGRAM_RUNNING)
		step_running(program);
	if (program->state == PROGRAM_ENDING)
		step_ending(program);
	return r;
}

static int patience_ms(const struct program *program)
{
	uint64_t now_ms = clock_mono_ms(), left_ms;

	if (program->state == PROGRAM_ENDING)
		return output_is_stalled(&program->output) ? -1 : ENDING_POLL_MS;
	if (program->stalled_ms || program->is_timed_out)
		return -1;
	left_ms = program->deadline_ms > now_ms ? program->deadline_ms - now_ms : 0;
	return left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
}

unsigned program_poll(const struct program *program, struct pollfd fds[PROGRAM_FDS_MAX], int *ret_ms)
{
	unsigned n = 0;

	*ret_ms = -1;
	if (!program_is_alive(program))
		return 0;
	*ret_ms = patience_ms(program);
	if (program->state == PROGRAM_STARTING) {
		fds[n++] = (struct pollfd){ .fd = program->launch.failure_fd, .events = POLLIN };
		return n;
	}
	for (int i = 0; i < 2; i++)
		if (program->output.streams[i].fd >= 0 && output_is_wanted(&program->output))
			fds[n++] = (struct pollfd){ .fd = program->output.streams[i].fd, .events = POLLIN };
	if (input_is_waiting(&program->input))
		fds[n++] = (struct pollfd){ .fd = program->input.fd, .events = POLLOUT };
	return n;
}

/* Its first process died of it: with everything else, or because it was the one that was chosen. A daemon that the
 * kernel killed after the program had ended was its own affair. */
static bool is_killed_for_memory(const struct program *program)
{
	bool is_killed = WIFSIGNALED(program->wait_status) && WTERMSIG(program->wait_status) == SIGKILL;

	return is_killed && program->memory.kills && !program->is_timed_out;
}

struct frame program_exit(const struct program *program)
{
	bool is_exit = WIFEXITED(program->wait_status);
	const struct cgroup_process *victim = &program->memory.victim;

	return (struct frame){ .type = FRAME_EXIT,
			       .exec = program->output.exec,
			       .has_exit_code = is_exit,
			       .exit_code = is_exit ? (uint32_t)WEXITSTATUS(program->wait_status) : 0,
			       .signal = is_exit ? 0 : (uint32_t)WTERMSIG(program->wait_status),
			       .is_timed_out = program->is_timed_out,
			       .is_oom = is_killed_for_memory(program),
			       .oom_kills = program->memory.kills,
			       .oom_pid = (uint32_t)victim->pid,
			       .oom_process = { .text = victim->name, .len = strlen(victim->name) },
			       .memory_kib = program->memory.limit_kib,
			       .stdout_bytes = program->output.streams[0].bytes,
			       .stderr_bytes = program->output.streams[1].bytes,
			       .cpu_ms = program->cpu_us / 1000,
			       .max_rss_kib = program->max_rss_kib,
			       .run_ms = program->run_ms };
}

void program_close(struct program *program)
{
	close_fd(&program->launch.failure_fd);
	input_close(&program->input);
	output_close(&program->output);
	memory_leave(&program->memory);
	cgroup_remove(&program->cgroup);
	program_init(program);
}
