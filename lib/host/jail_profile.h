/* What the jail of a VMM gives it and refuses it, as data: a row for each VMM. The launcher names the row (lane/launcher.h),
 * vm_spawn() counts with it, mayfly-jail does it. What all jails have in common (another root, no network, no capabilities, a
 * uid of its own) is in jail/jail.c and not to be chosen. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A node in the jail's /dev, made for the VMM's uid alone. */
enum jail_device {
	JAIL_DEVICE_KVM = 1,
};

struct jail_profile {
	const char *name;
	unsigned devices;      /* bits of enum jail_device that it may be given */
	uint32_t overhead_mib; /* the VMM's own memory beside the guest's */
	uint32_t threads;      /* of the VMM beside its vCPUs */
	uint32_t max_open_files;
	const int *refused_calls; /* numbers of system calls that fail with EPERM, beside those that make namespaces */
	size_t n_refused_calls;
};

extern const struct jail_profile jail_profile_qemu;

/* NULL: there is none of that name. */
const struct jail_profile *jail_profile_find(const char *name);
