/* From "the kernel started us" to "the host can talk to us": mounts, modules, the connection's port. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#ifndef AGENT_WEAK
#define AGENT_WEAK false /* true in a build that only a test runs, to see what its attempts are worth: nothing is closed */
#endif

/* Mount the agent's own /dev, /proc, /sys and cgroup2, look at the timer, load the initrd's modules in their order,
 * close what an unprivileged task need not reach in the kernel. */
int boot_prepare(struct err *err);

/* Open the virtio-serial port named "agent", which appears a little after its module; nonblocking. */
int boot_open_port(int *ret_fd, struct err *err);
