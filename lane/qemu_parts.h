/* What a plan for QEMU is made of, beside its command line: files of this host, sockets, and what a template depends on. */
#pragma once

#include "lane/qemu_command.h"

/* What every start has: image, sockets, command line, and the digest of what a template of it depends on. The descriptors of a kernel,
 * or what is in their place, are filled before. */
int qemu_plan_common(const struct host_place *place, const struct launch *launch, enum qemu_start start, struct launch_plan *ret,
		     struct err *err);

/* Kernel and initrd. */
int qemu_open_kernel(const struct host_place *place, int *fds, struct err *err);
