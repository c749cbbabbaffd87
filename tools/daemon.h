/* A process of the private stack. It outlives the command that started it, in a session of its own and with a log. A
 * file remembers its pid and its start time, so that a later process with the same pid is never taken for it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "host/names.h"

struct daemon {
	const char *name;      /* "kafka" */
	const char *state_dir; /* run/<name>.pid and log/<name>.log are below */
};

/* ERR_HOST when it cannot be started; whether it stays alive is the caller's to see. */
int daemon_start(const struct daemon *daemon, const char *const argv[], const char *folder, struct err *err);

/* Its pid while it lives, else 0. *ret_pidfd (may be NULL) is the caller's to close. */
pid_t daemon_find(const struct daemon *daemon, int *ret_pidfd);

/* Milliseconds that it has been running; 0 when it is not. */
uint64_t daemon_age_ms(const struct daemon *daemon);

/* Ask it to end, and wait, calling `tick` (may be NULL) meanwhile. Answers whether it ended; fine when there is none. */
bool daemon_end(const struct daemon *daemon, int signal, unsigned timeout_ms, void (*tick)(void *ctx), void *ctx);

void daemon_log_path(const struct daemon *daemon, char out[PATH_MAX]);

/* The end of its log, for a message on stderr. */
void daemon_show_log(const struct daemon *daemon);

/* Forget it: remove the pid file. */
void daemon_forget(const struct daemon *daemon);
