/* Identity of a fresh VM: the wall clock, entropy before anything draws a random number, and what is named or drawn with
 * that: the host name, the machine id, the boot id. */
#pragma once

#include "base/err.h"
#include "wire/frame.h"

/* After mounts_prepare(): what takes long and is not of one VM alone: loopback, and the image's lines of /etc/hosts. */
int setup_prepare(struct err *err);

/* `frame` is a FRAME_SETUP. */
int setup_identity(const struct frame *frame, struct err *err);

/* Again, when it is all done. */
int setup_clock(uint64_t realtime_ns, struct err *err);

/* After both, before mounts_make(): what the VM's own layer says about the machine. */
int setup_files(const struct frame *frame, struct err *err);
