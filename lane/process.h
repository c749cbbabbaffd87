/* A supervisor's lane: the process is started, replaced when the engine asks, and let go. Worker and reaper do it the same way.
 *
 * A lane may hang in the kernel, over a disk for example, where not even SIGKILL ends it. Then it is left to itself and
 * another one is started; with LANE_STUCK_MAX of those there is no other until one of them has ended. What it started
 * (guards) outlives it on purpose. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "lane/lane.h"

#define LANE_STUCK_MAX 8

struct lane_process {
	enum lane_kind kind;
	const struct lane_setup *setup; /* borrowed */
	/* In the new process, before it serves: close what is the supervisor's. */
	void (*on_child)(void *ctx);
	void *ctx;
	pid_t pid; /* 0: none */
	uint64_t started_mono_ms;
	pid_t stuck[LANE_STUCK_MAX]; /* killed, and not ended; 0: a free place */
};

/* *ret_fd: the engine's end. */
int lane_process_start(struct lane_process *lane, int *ret_fd, struct err *err);

/* End it, and start another one, not more often than every 200 ms. Waits some seconds at most. -EBUSY with ERR_BUSY: too
 * many hang; ask again when lane_process_has_ended() has answered true. Another fault: none can be made. */
int lane_process_replace(struct lane_process *lane, int *ret_fd, struct err *err);

/* From waitpid(): was it this lane's, or one that was stuck? A lane that died is replaced when its engine asks for that: the
 * engine knows which request went with it. */
bool lane_process_has_ended(struct lane_process *lane, pid_t pid);

/* Its engine is gone: it ends by itself after what it has in hand, or is killed after a moment. */
void lane_process_leave(struct lane_process *lane);
