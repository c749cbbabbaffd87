/* mayfly-jail: locks itself in and becomes the VMM. Read it from main() up: the order is the design.
 *
 * It is started by mayfly-guard inside the workspace's control group and as the first process of a pid namespace. It opens no
 * file but the jail's root, takes no decision, and keeps nothing: the VMM gets descriptors 0, 1, 2 and those
 * from 3 on that the guard left open.
 *
 * usage: mayfly-jail ROOT UID PROFILE DEVICES FILE_MIB VMM [ARG...]     (ROOT holds VMM; everything in it is read-only)
 * PROFILE names a row of lib/host/jail_profile.c; DEVICES is "-", or the name of a device that the row allows: "kvm".
 *
 * JAIL_WEAK has the bits of the locks that a test leaves open, to prove that the jail suite notices. It is set when the
 * test's own binary is compiled, never here, and nothing at run time can set it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/std_fds.h"
#include "host/jail_profile.h"

enum lock {
	LOCK_MOUNTS = 1,   /* another root */
	LOCK_PROC = 2,     /* only its own processes below /proc */
	LOCK_NET = 4,      /* another network namespace */
	LOCK_UID = 8,      /* another user */
	LOCK_CAPS = 16,    /* no capabilities, now or by exec */
	LOCK_SECCOMP = 32,
	LOCK_LIMITS = 64,
	LOCK_READ_ONLY = 128 /* and no set-user-id programs, no devices */
};

#ifndef JAIL_WEAK
#define JAIL_WEAK 0
#endif

#define MAX_THREADS 128              /* of this uid, which is this slot's alone; its control group is exact */

static bool is_locked(enum lock lock)
{
	return !(JAIL_WEAK & lock);
}

static void die(const char *what)
{
	(void)dprintf(STDERR_FILENO, "mayfly-jail: %s: %s\n", what, strerror(errno));
	_exit(111);
}

static void check(int result, const char *what)
{
	if (result < 0)
		die(what);
}

static void leave_the_host(void)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

	if (is_locked(LOCK_NET))
		flags |= CLONE_NEWNET;
	check(unshare(flags), "unshare");
	check(sethostname("microvm", 7), "sethostname");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
}

/* A node of its own, which is the VMM's: whoever may open the host's need not be the slot's user. */
static void make_kvm_node(uid_t uid)
{
	struct stat st;

	check(stat("/dev/kvm", &st), "stat /dev/kvm");
	check(mount("none", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,nr_inodes=2,mode=755"), "mount /dev");
	check(mknod("dev/kvm", S_IFCHR | 0600, st.st_rdev), "make /dev/kvm");
	check(chown("dev/kvm", uid, uid), "give /dev/kvm away");
	check(mount(NULL, "dev", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL),
	      "make /dev read-only");
}

static void enter_root(const char *root, uid_t uid, bool needs_kvm)
{
	const unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_RDONLY;

	check(mount(root, root, NULL, MS_BIND, NULL), "bind the root");
	if (is_locked(LOCK_READ_ONLY))
		check(mount(NULL, root, NULL, flags, NULL), "make the root read-only");
	check(chdir(root), "enter the root");
	if (needs_kvm)
		make_kvm_node(uid);
	/* The VMM opens its descriptors again by /proc/self/fd. */
	check(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    is_locked(LOCK_PROC) ? "subset=pid,hidepid=invisible" : NULL),
	      "mount proc");
	if (!is_locked(LOCK_MOUNTS))
		return;
	check((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	check(umount2(".", MNT_DETACH), "let go of the old root");
	check(chdir("/"), "enter the new root");
}

/* A VMM that emulates touches a little of much: with pages of 2 MiB a clone that waits takes 2.4 MiB more
 * (docs/decisions/2026-11-28-templates-of-qemu.md). On KVM they are worth it: the guest's memory is mapped by them. */
static void take_small_pages(void)
{
	check(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "small pages");
}

static void limit(int resource, rlim_t value)
{
	const struct rlimit both = { value, value };

	check(setrlimit(resource, &both), "setrlimit");
}

/* `file_mib`: of its backing file, which it may fill and not outgrow. */
static void set_limits(rlim_t file_mib, const struct jail_profile *profile)
{
	if (!is_locked(LOCK_LIMITS))
		return;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, profile->max_open_files);
	limit(RLIMIT_FSIZE, file_mib << 20);
	limit(RLIMIT_NPROC, MAX_THREADS);
	limit(RLIMIT_MEMLOCK, 0);
	limit(RLIMIT_MSGQUEUE, 0);
}

/* The pipe on stderr is the guard's: a reader that is gone cannot have sent the signal that setresuid() would have lost. */
static void die_with_the_guard(void)
{
	struct pollfd pollfd = { .fd = STDERR_FILENO };

	check(prctl(PR_SET_PDEATHSIG, SIGKILL), "death signal"); /* setresuid cleared the guard's own */
	if (poll(&pollfd, 1, 0) > 0 && pollfd.revents & POLLERR)
		_exit(112);
}

static void drop_privileges(uid_t uid)
{
	if (is_locked(LOCK_CAPS)) {
		check(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
						       SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
						       SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED),
		      "set secure bits");
		errno = -caps_drop_bounding();
		check(-errno, "drop the capabilities");
	}
	check(setgroups(0, NULL), "setgroups");
	if (is_locked(LOCK_UID)) {
		check(setresgid(uid, uid, uid), "setresgid");
		check(setresuid(uid, uid, uid), "setresuid");
	}
	if (is_locked(LOCK_CAPS))
		check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	check(prctl(PR_SET_DUMPABLE, 0), "not dumpable");
	die_with_the_guard();
}

static void filter_calls(const struct jail_profile *profile)
{
	const uint64_t new_namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
					CLONE_NEWPID | CLONE_NEWNET;
	scmp_filter_ctx filter;
	int r = 0;

	if (!is_locked(LOCK_SECCOMP))
		return;
	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		die("make a seccomp filter");
	for (size_t i = 0; i < profile->n_refused_calls && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), profile->refused_calls[i], 0);
	for (uint64_t bit = 1; bit <= CLONE_NEWNET && r == 0; bit <<= 1)
		if (bit & new_namespaces)
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
	/* Its flags are behind a pointer, where a filter cannot look: glibc falls back to clone(2). */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	errno = -r;
	check(r, "load the seccomp filter");
}

struct order {
	const char *root;
	uid_t uid;
	const struct jail_profile *profile;
	bool needs_kvm;
	rlim_t file_mib;
	char **vmm; /* its arguments */
};

static bool parse(int argc, char **argv, struct order *ret)
{
	if (argc < 7 || argv[1][0] != '/')
		return false;
	ret->root = argv[1];
	ret->uid = (uid_t)strtoul(argv[2], NULL, 10);
	ret->profile = jail_profile_find(argv[3]);
	ret->needs_kvm = strcmp(argv[4], "kvm") == 0;
	ret->file_mib = strtoul(argv[5], NULL, 10);
	ret->vmm = argv + 6;
	if (!ret->uid || !ret->profile || !ret->file_mib)
		return false;
	return ret->needs_kvm ? ret->profile->devices & JAIL_DEVICE_KVM : strcmp(argv[4], "-") == 0;
}

int main(int argc, char **argv)
{
	static char *const environment[] = { "LC_ALL=C", "PATH=/usr/bin", NULL };
	struct order order;

	check(std_fds_fill(), "open /dev/null");
	if (!parse(argc, argv, &order)) {
		(void)dprintf(STDERR_FILENO, "usage: mayfly-jail ROOT UID PROFILE DEVICES FILE_MIB VMM [ARG...]\n");
		return 2;
	}
	(void)umask(077);
	leave_the_host();
	enter_root(order.root, order.uid, order.needs_kvm);
	set_limits(order.file_mib, order.profile);
	if (!order.needs_kvm)
		take_small_pages();
	drop_privileges(order.uid);
	filter_calls(order.profile);
	execve(order.vmm[0], order.vmm, environment);
	die(order.vmm[0]);
}
