/* Identity of a fresh VM: entropy before anything draws a random number, the wall clock, the host name, loopback. */
#pragma once

#include "base/err.h"
#include "wire/frame.h"

/* `frame` is a FRAME_SETUP. */
int setup_identity(const struct frame *frame, struct err *err);

/* Once the task's root is mounted: the host name stands for the loopback addresses, as programs expect of their own. */
int setup_hosts(struct err *err);
