/* What `mayfly dev start` leaves running: it starts again each part of the private stack that ended without being asked to, as a
 * service manager does on a host. */
#pragma once

#include "tools/stack.h"

/* Until SIGTERM or SIGINT; then 0. */
int keeper_run(struct stack *stack);
