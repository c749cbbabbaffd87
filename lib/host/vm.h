/* A VMM process in its jail, under its guard (jail/): spawn it, and make sure that it is gone. Blocking. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "host/jail_profile.h"
#include "host/names.h"

#define VM_MAX_FDS 8

struct vm_plan {
	const char *id;
	uint32_t uid;         /* of the VMM: one per slot, because RLIMIT_NPROC counts per uid over all jails */
	uint32_t memory_mib;  /* of the guest; what the VMM itself takes is in its jail's profile */
	uint32_t shared_mib;  /* it may have to pay for so much of memory that others use as well: counted once, by who touches it first */
	uint32_t cpus;        /* cgroup quota: cpus whole processors */
	uint32_t file_mib;    /* the largest file that the VMM may write: the one under its disk */
	uint64_t deadline_boot_ms; /* on CLOCK_BOOTTIME; the guard kills then, whatever else has hung or died */
	uint64_t limit_boot_ms;    /* its owner cannot move that beyond this (host/guard.h) */
	const struct jail_profile *jail;
	bool needs_kvm;       /* give it /dev/kvm */
	const char *const *argv; /* of the VMM, path inside the jail; NULL-terminated */
	const int *fds;       /* become descriptors 3, 4, ... of the VMM; borrowed */
	unsigned n_fds;
};

/* Start mayfly-guard, which makes the cgroup and starts mayfly-jail in it, which becomes the VMM. *ret_guard_fd: the owner's end of its socket (host/guard.h).
 * On failure nothing is left behind; -EEXIST with ERR_BUG: there is
 * one of that name, which is nobody's to use twice. `libexec_dir` holds mayfly-guard and mayfly-jail. */
int vm_spawn(const struct host_place *place, const char *libexec_dir, const struct vm_plan *plan, int *ret_guard_fd,
	     struct err *err);

/* Kill every process in the workspace's cgroup, wait until it is empty, remove it. Fine when there is none. */
int vm_destroy(const struct host_place *place, const char *id, struct err *err);

/* What is left of probes (names_probe()) whose time has been over for a while: their guard died before it could remove it. */
int vm_remove_old_probes(const struct host_place *place, struct err *err);

/* What it takes of this host's memory now (host/cgroup.h). Needs no privileges. */
int vm_memory(const struct host_place *place, const char *id, uint64_t *ret_bytes, struct err *err);

/* Every workspace of which there is a control group on this host. `visit` answers 0 to go on. */
int vm_each(const struct host_place *place, int (*visit)(void *ctx, const char *id), void *ctx, struct err *err);
