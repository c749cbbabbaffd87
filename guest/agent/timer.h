/* The kernel's timer under emulation. */
#pragma once

#include "base/err.h"

/* Is the timer's rate what it has to be? Linux measures the local APIC timer against the TSC while it boots. When an
 * emulating host takes the processor away in that moment, the measure is wrong by any factor, and beyond a bound
 * Linux goes without a timer at all: then the first sleep never ends. ERR_HOST: start over. Anything but QEMU's TCG
 * is trusted. */
int timer_check(struct err *err);
