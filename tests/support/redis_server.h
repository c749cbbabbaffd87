/* A redis-server of the test's own: a free loopback port, nothing on disk, ended with the test even when that
 * crashes. */
#pragma once

#include <sys/types.h>

struct redis_server {
	pid_t pid; /* 0: not running */
	unsigned port;
};

/* Starts and waits until it answers; fails the test otherwise. A port of 0 takes a free one, another is used again. */
void redis_server_start(struct redis_server *server);
void redis_server_kill(struct redis_server *server); /* SIGKILL, and waits */

/* One command over a connection of its own, split at spaces; the reply as text ("" for nil; a number in decimal; the
 * elements of an array with a space between them), valid until the next call. */
const char *redis_server_ask(const struct redis_server *server, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
