/* Does a guest run on KVM here? KVM counts only where one really did: on some hosts /dev/kvm opens, makes VMs, and hangs every
 * stock kernel. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "host/names.h"
#include "lane/accel.h"

/* Boot the kernel bundle under KVM, jailed, for at most ACCEL_PROBE_MS, and see whether its agent says hello. The answer is
 * kept in <state_dir>/accel until the next boot of the host or another kernel bundle; a kept "no", which a slow boot can cause,
 * counts only with `trusts_no`, and for an hour. What the guest says is read in a process without privileges. Blocking. */
#define ACCEL_PROBE_MS 15000
#define ACCEL_NO_KEPT_S 3600
int accel_probe(const struct host_place *place, const char *libexec_dir, bool trusts_no, enum accel *ret, struct err *err);

/* The part of it that reads: did a hello come over this channel, which stays the caller's? */
int accel_hear(int channel_fd, enum accel *ret, struct err *err);
