/* The one program of the task, with everything that descends from it.
 *
 *   NONE -> RUNNING   program_start(): the first process exists, in its cgroup
 *   RUNNING -> ENDING its first process ended; everything else in the cgroup was killed (daemons, double forks, fork bombs)
 *   ENDING -> ENDED   nothing lives in the cgroup, and every kept byte of output was queued for the host
 *   ENDED -> NONE     program_report() was sent; the cgroup is removed
 *
 * Every orphan in the VM becomes a child of the agent, which is PID 1, so nothing escapes the reaping. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "guest/agent/memory.h"
#include "guest/agent/output.h"
#include "wire/frame.h"

#define PROGRAM_FDS_MAX 4

enum program_state { PROGRAM_NONE, PROGRAM_RUNNING, PROGRAM_ENDING, PROGRAM_ENDED, PROGRAM_STATE_COUNT };

struct program {
	enum program_state state;
	pid_t pid;
	int wait_status; /* of the first process; from ENDING on */
	int stdin_fd;	 /* nonblocking write end, or -1 */
	struct buf stdin_bytes;
	bool is_stdin_complete;
	struct output output;
	uint64_t started_ms, deadline_ms, run_ms; /* monotonic */
	uint64_t stalled_ms; /* since when the host takes no output; 0: it does. Meanwhile the deadline does not pass */
	bool is_timed_out;
	struct memory memory;
	uint64_t cpu_us, max_rss_kib; /* of what was reaped */
	char missing[FRAME_MISSING_MAX + 1];	       /* after a failed start: the name of a program that the image lacks, or "" */
};

/* `frame` is a FRAME_RUN. On failure nothing of it is left but `missing`. */
int program_start(struct program *program, const struct frame *frame, struct err *err);

/* Input for the program. -ENOBUFS when it is more than a task can hold. */
int program_feed(struct program *program, const struct frame *frame);

/* Kill everything in the cgroup; the state changes when the first process is reaped. */
void program_kill(struct program *program);

/* Reap, feed, pump output, mind the deadline: whatever can be done now. 0, or a negative errno. */
int program_step(struct program *program, struct channel *channel);

/* The descriptors to wait for (at most PROGRAM_FDS_MAX), and how long at most (-1: for ever). */
unsigned program_poll(const struct program *program, const struct channel *channel, struct pollfd fds[PROGRAM_FDS_MAX],
		      int *ret_ms);

/* In the state ENDED: queue FRAME_EXIT and be NONE again. */
int program_report(struct program *program, struct channel *channel);
