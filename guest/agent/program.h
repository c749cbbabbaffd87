/* One program with everything that descends from it: processes, cgroup, pipes, memory, time. It knows nothing of the
 * peer.
 *
 *   NONE       nothing is owned
 *   STARTING   owns a child on its way to exec(2) and the pipe of its reports, the cgroup, the pipes of its standard streams.
 *              -> RUNNING when it became the program; -> ENDING when it could not, or when it ended first
 *   RUNNING    user code runs. -> ENDING when its first process ended
 *   ENDING     what the first process left in the cgroup was killed (daemons, double forks, fork bombs); nothing more is written to
 *              its stdin. -> ENDED when nothing lives in the cgroup and its output was read to the end, which waits for the window
 *   ENDED      the numbers are final; of everything above only kept output that the engine has not acknowledged is owned.
 *              -> NONE by program_close()
 *
 * The pipes' end is not waited for: another program of the task may hold them open. What lies in them when the last
 * process is gone is read, and no more. Every orphan in the VM becomes a child of the agent, which is PID 1, so
 * nothing escapes the reaping. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "guest/agent/cgroup.h"
#include "guest/agent/input.h"
#include "guest/agent/launch.h"
#include "guest/agent/memory.h"
#include "guest/agent/output.h"
#include "wire/frame.h"

#define PROGRAM_FDS_MAX 3

enum program_state { PROGRAM_NONE, PROGRAM_STARTING, PROGRAM_RUNNING, PROGRAM_ENDING, PROGRAM_ENDED,
		     PROGRAM_STATE_COUNT };

struct program {
	enum program_state state;
	struct launch launch;
	struct cgroup cgroup;
	struct input input;
	struct output output;
	struct memory_share memory;
	bool is_started; /* it came to RUNNING */
	bool is_reaped;	 /* its first process was; wait_status is valid */
	bool is_timed_out;
	int wait_status;
	uint64_t started_ms, deadline_ms, run_ms; /* monotonic; run_ms from ENDING on */
	/* since when its output waits for the engine; 0: it does not. Meanwhile the deadline does not pass */
	uint64_t stalled_ms;
	uint64_t cpu_us, max_rss_kib; /* of what was reaped; in ENDED of the whole cgroup */
};

void program_init(struct program *program); /* NONE */

/* `run` is a FRAME_RUN. STARTING, or on failure NONE. */
int program_start(struct program *program, const struct frame *run, struct memory *memory, struct err *err);

/* SIGKILL to everything in the cgroup, any other signal to the first process. Nothing when that is gone. */
void program_signal(struct program *program, int signal);

/* One of its processes ended: reap it. */
void program_reap(struct program *program, pid_t pid);

/* Whatever can be done now. 0, or a negative errno once when it could not be started; launch.missing may say more. */
int program_step(struct program *program, struct err *err);

/* The descriptors to wait for, and how long at most (-1: for ever). */
unsigned program_poll(const struct program *program, struct pollfd fds[PROGRAM_FDS_MAX], int *ret_ms);

/* Its first process may be there and even be over, but which one it is has not been heard: nothing is to be reaped yet. */
bool program_is_unknown(const struct program *program);

bool program_is_alive(const struct program *program); /* STARTING, RUNNING or ENDING */

/* In ENDED: the FRAME_EXIT. It borrows from `program`. */
struct frame program_exit(const struct program *program);

/* Everything that is not alive goes; in NONE or ENDED. */
void program_close(struct program *program);
