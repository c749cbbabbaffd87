/* All execs of the VM: which number is at which place, and every one gets its turn.
 *
 * A turn is bounded for each of them, and begins with another one each time: what a program does, the others do not
 * wait for. */
#pragma once

#include "guest/agent/exec.h"

#define EXECS_FDS_MAX (FRAME_EXECS_MAX * EXEC_FDS_MAX + 1)

struct execs {
	struct exec places[FRAME_EXECS_MAX];
	uint32_t last_id; /* the highest number that was ever used: what is not above it, and lives no more, is over */
	unsigned first;	  /* the place whose turn comes first */
	bool is_reaping;  /* there is more to reap */
	bool is_waiting;  /* reaping waits until every program's first process is known */
	struct memory memory;
};

void execs_open(struct execs *execs);

/* A frame about an exec, from a peer that may send it. What is wrong about it is answered with `fail`. */
void execs_take(struct execs *execs, const struct frame *frame, struct connection *connection);

/* The peer is gone. */
void execs_detach(struct execs *execs);

unsigned execs_count(const struct execs *execs); /* of those that a new peer has to know */

/* Queue a FRAME_STATUS for each of them. 0 or a negative errno. */
int execs_announce(const struct execs *execs, struct connection *connection);

/* Whatever can be done now. */
void execs_step(struct execs *execs, struct connection *connection);

/* The descriptors to wait for, and how long at most (-1: for ever). */
unsigned execs_poll(const struct execs *execs, const struct connection *connection, struct pollfd fds[EXECS_FDS_MAX],
		    int *ret_ms);
