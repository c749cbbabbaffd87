/* The supervisor: the first process of a worker. It starts the engine and the lanes, passes SIGTERM on, replaces a lane when
 * the engine asks for it or when it died, and otherwise does nothing: it reads no byte from outside and never starts a
 * thread, so that it can fork. When the engine ends, everything ends. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "worker/settings.h"

/* Runs until the engine has ended; answers the process's exit status. */
int supervise(const struct settings *settings);
