#include "host/jail_profile.h"

#include <seccomp.h>
#include <string.h>

#include "base/own.h"

/* What no VMM needs, beside what QEMU's own -sandbox refuses later: new namespaces and mounts, other processes, keys,
 * kernel programs, and any socket but those it was given. */
static const int no_vmm_needs[] = {
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare), SCMP_SYS(setns),
	SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_open), SCMP_SYS(kcmp), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
	SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(open_by_handle_at), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
	SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(mknod), SCMP_SYS(mknodat),
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(syslog), SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(lookup_dcookie), SCMP_SYS(name_to_handle_at),
	SCMP_SYS(fanotify_init), SCMP_SYS(personality), SCMP_SYS(vhangup), SCMP_SYS(nfsservctl), SCMP_SYS(uselib),
};

/* QEMU: 64 MiB of TCG translations, its heap, page cache of the image. Threads: 16 I/O workers (lane/launch_qemu.c), monitor,
 * RCU, signals, and some. */
const struct jail_profile jail_profile_qemu = {
	.name = "qemu",
	.devices = JAIL_DEVICE_KVM,
	.overhead_mib = 192,
	.threads = 48,
	.max_open_files = 256,
	.refused_calls = no_vmm_needs,
	.n_refused_calls = ARRAY_SIZE(no_vmm_needs),
};

static const struct jail_profile *const profiles[] = { &jail_profile_qemu };

const struct jail_profile *jail_profile_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
		if (strcmp(profiles[i]->name, name) == 0)
			return profiles[i];
	return NULL;
}
