/* What a process gives up before it reads a byte from outside: root, capabilities, new privileges, being dumped, and every
 * system call that an event loop with Kafka and Redis does not need. Worker and reaper share it. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Irreversible, for the whole process; call before any thread is made. `unix_socket`: "" or the one that it will have to connect
 * to; then it keeps the group that owns it, unless that is root's, and may make Unix sockets. */
int confine_process(uid_t uid, const char *unix_socket, struct err *err);

#ifdef MAYFLY_SANITIZE
void confine_allow_leak_check(void); /* at the very end of a sanitized process */
#endif
