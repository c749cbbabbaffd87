/* A supervisor's children: how they are forked, watched and ended. A supervisor has no threads, so that it can fork. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* For one to end what it has in hand; for one that was killed, which may hang in the kernel. */
#define CHILD_FAREWELL_MS 2000

enum child_stop {
	CHILD_STOP_BY_SIGNAL, /* SIGTERM and SIGINT do what they do in a fresh process */
	CHILD_STOP_BY_SOCKET, /* it ignores them: it ends when its engine's end of a socket has closed */
};

/* fork(2). The child's signals are as in a fresh process, but for `stop`, and it is killed when its parent ends. */
pid_t child_fork(enum child_stop stop);

/* Blocks SIGTERM, SIGINT and SIGCHLD for this process; they are read from *ret_fd (signalfd(2), non-blocking). */
int child_signals_open(int *ret_fd, struct err *err);

/* What a child that was waited for makes of its supervisor's exit status. `is_stopping`: SIGTERM was passed on to it. One
 * that dies of that has not begun to listen, and has nothing in hand: it was asked to stop, and has stopped. Any other
 * signal is 1. */
int child_exit_status(int wait_status, bool is_stopping);

/* Waits for CHILD_FAREWELL_MS at most; answers whether it has ended. Then it is waited for: its exit is not seen
 * again. */
bool child_await(pid_t pid);

/* SIGKILL to a child that was not waited for yet, and child_await(). One that hangs in the kernel (false) is left to
 * itself. */
bool child_kill(pid_t pid);
