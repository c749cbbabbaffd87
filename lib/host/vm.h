/* A VMM process in its jail, under its guard (jail/): spawn it, and make sure that it is gone. Blocking. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "host/names.h"

#define VM_MAX_FDS 8
#define VM_OVERHEAD_MIB 192 /* the VMM's own memory beside the guest's: QEMU heap, 64 MiB of TCG translations, page cache of image */

struct vm_plan {
	const char *id;
	uint32_t uid;         /* of the VMM: one per slot, because RLIMIT_NPROC counts per uid over all jails */
	uint32_t memory_mib;  /* cgroup limit: guest memory + VM_OVERHEAD_MIB is computed here */
	uint32_t cpus;        /* cgroup quota: cpus whole processors */
	uint32_t file_mib;    /* the largest file that the VMM may write: the one under its disk */
	uint64_t deadline_boot_ms; /* on CLOCK_BOOTTIME; the guard kills then, whatever else has hung or died */
	bool needs_kvm;       /* give it /dev/kvm */
	const char *const *argv; /* of the VMM, path inside the jail; NULL-terminated */
	const int *fds;       /* become descriptors 3, 4, ... of the VMM; borrowed */
	unsigned n_fds;
};

/* What the guard writes on its socket (SOCK_SEQPACKET) when the VM has ended; then it exits. Writing any byte to it or
 * closing it kills the VM. */
struct vm_exit {
	int32_t wait_status; /* waitpid's */
	uint32_t is_deadline;  /* killed by the guard's deadline */
	uint32_t is_out_of_memory; /* the cgroup's OOM killer fired */
	uint32_t reserved;
	uint64_t max_rss_kib;
	uint64_t cpu_ms;
};

/* Start mayfly-guard, which makes the cgroup and starts mayfly-jail in it, which becomes the VMM. *ret_guard_fd: see struct vm_exit.
 * On failure nothing is left behind. `libexec_dir` holds mayfly-guard and mayfly-jail. */
int vm_spawn(const struct host_place *place, const char *libexec_dir, const struct vm_plan *plan, int *ret_guard_fd,
	     struct err *err);

/* Kill every process in the workspace's cgroup, wait until it is empty, remove it. Fine when there is none. */
int vm_destroy(const struct host_place *place, const char *id, struct err *err);

/* Every workspace id of which anything is left on this host: a cgroup or a backing file. `visit` answers 0 to go on.
 * Where one kind cannot be listed, the other is, before the failure is answered. */
int host_each_workspace(const struct host_place *place, int (*visit)(void *ctx, const char *id), void *ctx,
			struct err *err);
