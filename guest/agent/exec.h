/* One exec of the guest protocol: what the peer and a program have to do with each other, from the first put or run
 * to `end` or `fail`.
 *
 *   program NONE            files may be put
 *   program alive           stdin, ack and kill are taken; started and out are said
 *   program ENDED           once all output was sent, exit is said; then files may be collected
 *   failure set             the program is being killed; once it is gone, fail is said, and the exec is over
 *   is_let_go               after `end`: the same, but nothing is said
 *
 * Nothing is said while the exec is not heard: the peer that knew of it is gone, and the next one has not said from
 * where it wants to go on. A program does not notice, until its output fills the window. */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "guest/agent/connection.h"
#include "guest/agent/collect.h"
#include "guest/agent/program.h"
#include "guest/agent/put.h"

#define EXEC_FDS_MAX PROGRAM_FDS_MAX

struct exec {
	uint32_t id; /* 0: a free place, and nothing below is valid */
	bool is_heard, is_let_go;
	bool is_start_said, is_exit_said; /* to this peer */
	struct put put;
	struct program program;
	struct collect collect;
	char failure[sizeof(((struct err *)NULL)->msg)]; /* "": none */
	/* with `failure`: the name of a program that the image lacks, or "" */
	char missing[FRAME_MISSING_MAX + 1];
};

/* At a free place, for the peer that is there. */
void exec_open(struct exec *exec, uint32_t id);

/* A frame about it. 0; or a negative errno: then exec_fail(). */
int exec_take(struct exec *exec, const struct frame *frame, struct memory *memory, struct err *err);

/* Its end, for a reason that the peer is told. The first one counts. */
void exec_fail(struct exec *exec, const char *why);

/* The peer is gone. */
void exec_detach(struct exec *exec);

struct frame exec_status(const struct exec *exec); /* FRAME_STATUS, for a new peer */

/* Whatever can be done now; when it is over, the place is free. */
void exec_step(struct exec *exec, struct connection *connection);

/* The descriptors to wait for, and how long at most (-1: for ever). */
unsigned exec_poll(const struct exec *exec, const struct connection *connection, struct pollfd fds[EXEC_FDS_MAX],
		   int *ret_ms);
