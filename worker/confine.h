/* What the engine gives up before it reads a byte from outside: root, capabilities, new privileges, being dumped, and every
 * system call that it does not need. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Irreversible, for the whole process; call before any thread is made. */
int confine_engine(uid_t uid, struct err *err);

#ifdef MAYFLY_SANITIZE
void confine_allow_leak_check(void); /* at the very end of a sanitized engine */
#endif
