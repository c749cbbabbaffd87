/* What a process of the reaper that talks to the network gives up first: root, capabilities, new privileges, being
 * dumped. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Irreversible, for the whole process; before any thread is made. Dies with its parent afterwards. */
int confine_process(uid_t uid, struct err *err);
