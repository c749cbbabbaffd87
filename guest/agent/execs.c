#include "guest/agent/execs.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"

#define REAPS_PER_TURN 256 /* a program that forks without end is not all there is to do */

void execs_open(struct execs *execs)
{
	*execs = (struct execs){ .memory.events_fd = -1 };
}

static struct exec *find(struct execs *execs, uint32_t id)
{
	for (unsigned i = 0; id && i < FRAME_EXECS_MAX; i++)
		if (execs->places[i].id == id)
			return &execs->places[i];
	return NULL;
}

static struct exec *find_place(struct execs *execs)
{
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		if (!execs->places[i].id)
			return &execs->places[i];
	return NULL;
}

/* There is no exec to fail: only the answer. A peer that does not read what it is told is told no more. */
static void refuse(struct connection *connection, uint32_t id, const struct err *err)
{
	const struct frame frame = { .type = FRAME_FAIL, .exec = id, .error = { .text = err->msg,
			.len = strlen(err->msg) } };

	if (connection_has_room(connection))
		(void)connection_send(connection, &frame); /* without memory, the engine's patience ends */
}

/* The first frame about a number. */
static struct exec *begin(struct execs *execs, const struct frame *frame, struct err *err)
{
	struct exec *exec = find_place(execs);

	execs->last_id = frame->exec;
	if (frame->type != FRAME_PUT && frame->type != FRAME_RUN) {
		(void)err_set(err, ERR_BUG, 0, "a '%s' frame is about a program that was not asked for",
			      frame_type_name(frame->type));
		return NULL;
	}
	if (!exec) {
		(void)err_set(err, ERR_BUG, 0, "there are %d programs, and no room for another; end one",
			      FRAME_EXECS_MAX);
		return NULL;
	}
	exec_open(exec, frame->exec);
	return exec;
}

void execs_take(struct execs *execs, const struct frame *frame, struct connection *connection)
{
	struct exec *exec = find(execs, frame->exec);
	struct err err;

	if (!exec && frame->exec <= execs->last_id)
		return; /* it is over: this crossed its end */
	if (!exec)
		exec = begin(execs, frame, &err);
	if (!exec)
		refuse(connection, frame->exec, &err);
	else if (exec_take(exec, frame, &execs->memory, &err) < 0)
		exec_fail(exec, err.msg);
}

void execs_detach(struct execs *execs)
{
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		if (execs->places[i].id)
			exec_detach(&execs->places[i]);
}

static bool is_told_of(const struct exec *exec)
{
	return exec->id && !exec->is_let_go;
}

unsigned execs_count(const struct execs *execs)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		n += is_told_of(&execs->places[i]) ? 1 : 0;
	return n;
}

int execs_announce(const struct execs *execs, struct connection *connection)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < FRAME_EXECS_MAX; i++) {
		struct frame status;

		if (!is_told_of(&execs->places[i]))
			continue;
		status = exec_status(&execs->places[i]);
		r = connection_send(connection, &status);
	}
	return r;
}

/* The exec of a process that ended: its first one, or one from its cgroup, which a zombie still has. */
static struct exec *find_parent(struct execs *execs, pid_t pid)
{
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		if (execs->places[i].id && execs->places[i].program.launch.pid == pid &&
		    !execs->places[i].program.is_reaped)
			return &execs->places[i];
	return find(execs, cgroup_of_process(pid));
}

static bool knows_all(const struct execs *execs)
{
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		if (execs->places[i].id && program_is_unknown(&execs->places[i].program))
			return false;
	return true;
}

static void reap(struct execs *execs)
{
	execs->is_waiting = !knows_all(execs);
	if (execs->is_waiting)
		return;
	execs->is_reaping = true;
	for (int n = 0; n < REAPS_PER_TURN; n++) {
		siginfo_t info = { .si_pid = 0 };
		struct exec *exec;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
			execs->is_reaping = false;
			return;
		}
		exec = find_parent(execs, info.si_pid);
		if (exec)
			program_reap(&exec->program, info.si_pid);
		else
			(void)waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void mind_memory(struct execs *execs)
{
	struct memory_share *shares[FRAME_EXECS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++)
		if (execs->places[i].id && execs->places[i].program.memory.cgroup)
			shares[n++] = &execs->places[i].program.memory;
	memory_step(&execs->memory, shares, n);
}

void execs_step(struct execs *execs, struct connection *connection)
{
	unsigned first = execs->first; /* the next turn begins behind whoever is first in this one */

	reap(execs);
	mind_memory(execs);
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++) {
		unsigned place = (first + i) % FRAME_EXECS_MAX;
		struct exec *exec = &execs->places[place];

		if (!exec->id)
			continue;
		if (execs->first == first)
			execs->first = (place + 1) % FRAME_EXECS_MAX;
		exec_step(exec, connection);
	}
	if (execs->is_waiting && knows_all(execs))
		execs->is_reaping = true; /* in the next turn, at once: what ended meanwhile is not announced again */
}

static int sooner(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

unsigned execs_poll(const struct execs *execs, const struct connection *connection, struct pollfd fds[EXECS_FDS_MAX],
		    int *ret_ms)
{
	unsigned n = 0;
	int ms;

	memory_poll(&execs->memory, &fds[n++], ret_ms);
	for (unsigned i = 0; i < FRAME_EXECS_MAX; i++) {
		if (!execs->places[i].id)
			continue;
		n += exec_poll(&execs->places[i], connection, fds + n, &ms);
		*ret_ms = sooner(*ret_ms, ms);
	}
	if (execs->is_reaping)
		*ret_ms = 0;
	return n;
}
