#include "host/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/own.h"

#define LOCKED_BYTES (128u << 20) /* keys of jobs in flight: two pages for each of LANE_MAX_SLOTS, and a little */

/* What libevent, librdkafka, hiredis, OpenSSL and the allocator use; no execve, no fork, no mount, no ptrace, no kill. */
static const int allowed_calls[] = {
	SCMP_SYS(accept4), SCMP_SYS(access), SCMP_SYS(bind), SCMP_SYS(brk), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(close), SCMP_SYS(connect), SCMP_SYS(dup),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_wait), SCMP_SYS(eventfd2),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fstat),
	SCMP_SYS(fstatfs), SCMP_SYS(futex), SCMP_SYS(getcpu), SCMP_SYS(getcwd), SCMP_SYS(getdents64), SCMP_SYS(getegid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getpeername), SCMP_SYS(getpid), SCMP_SYS(getppid),
	SCMP_SYS(getrandom), SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(getsockname), SCMP_SYS(getsockopt),
	SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(getuid), SCMP_SYS(lseek), SCMP_SYS(lstat),
	SCMP_SYS(madvise), SCMP_SYS(membarrier), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(mmap), SCMP_SYS(mprotect),
	SCMP_SYS(mremap), SCMP_SYS(munlock), SCMP_SYS(munmap), SCMP_SYS(nanosleep), SCMP_SYS(newfstatat), SCMP_SYS(open),
	SCMP_SYS(openat), SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(pread64),
	SCMP_SYS(read), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(readv), SCMP_SYS(recvfrom), SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmsg), SCMP_SYS(restart_syscall), SCMP_SYS(rseq), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_yield), SCMP_SYS(select), SCMP_SYS(sendmmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
	SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
	SCMP_SYS(sigaltstack), SCMP_SYS(stat), SCMP_SYS(statfs), SCMP_SYS(statx), SCMP_SYS(sysinfo),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(uname), SCMP_SYS(write), SCMP_SYS(writev),
#ifdef MAYFLY_SANITIZE
	/* LeakSanitizer looks at its own process from a tracer that it clones at exit. */
	SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(process_vm_readv), SCMP_SYS(tgkill), SCMP_SYS(setpriority),
	SCMP_SYS(personality), SCMP_SYS(getdents),
#endif
};

#define USE(argument, value) { .arg = (argument), .op = SCMP_CMP_EQ, .datum_a = (value) }

/* Calls that are allowed with some values of one argument. */
static const struct {
	int call;
	struct scmp_arg_cmp use;
} allowed_uses[] = {
	/* Kafka and Redis; no family that sees packets, talks to the kernel or reaches the host's other services. */
	{ SCMP_SYS(socket), USE(0, AF_INET) },
	{ SCMP_SYS(socket), USE(0, AF_INET6) },
	/* No signal to another process of the same user, which F_SETOWN would allow. */
	{ SCMP_SYS(fcntl), USE(1, F_DUPFD) },
	{ SCMP_SYS(fcntl), USE(1, F_DUPFD_CLOEXEC) },
	{ SCMP_SYS(fcntl), USE(1, F_GETFD) },
	{ SCMP_SYS(fcntl), USE(1, F_SETFD) },
	{ SCMP_SYS(fcntl), USE(1, F_GETFL) },
	{ SCMP_SYS(fcntl), USE(1, F_SETFL) },
	/* Memory of templates. */
	{ SCMP_SYS(fcntl), USE(1, F_ADD_SEALS) },
	{ SCMP_SYS(fcntl), USE(1, F_GET_SEALS) },
	/* No typing into the terminal that it was started from. */
	{ SCMP_SYS(ioctl), USE(1, FIONREAD) },
	{ SCMP_SYS(ioctl), USE(1, FIONBIO) },
	{ SCMP_SYS(ioctl), USE(1, TCGETS) },
	/* Limits of its own, not of another process of the same user. */
	{ SCMP_SYS(prlimit64), USE(0, 0) },
	/* Its own threads' names, and nothing else. */
	{ SCMP_SYS(prctl), USE(0, PR_SET_NAME) },
};

static int add_rules(scmp_filter_ctx filter, bool has_unix_socket)
{
	const struct scmp_arg_cmp unix_sockets = USE(0, AF_UNIX);
	int r = 0;

	if (has_unix_socket)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &unix_sockets);

	for (size_t i = 0; i < ARRAY_SIZE(allowed_calls) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(allowed_uses) && r == 0; i++)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, allowed_uses[i].call, 1, &allowed_uses[i].use);
#ifdef MAYFLY_SANITIZE
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 0);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0);
#else
	/* Threads, not processes. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
#endif
	/* Its flags are behind a pointer: glibc falls back to clone(2) on ENOSYS. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return r;
}

static int load_filter(bool has_unix_socket, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? add_rules(filter, has_unix_socket) : -ENOMEM;

	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_set(err, ERR_HOST, -r, "load a seccomp filter") : 0;
}

/* As much as may be had: in a container root may not raise its limits, and a key that finds no room says so itself. */
static int set_limits(struct err *err)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit locked = { LOCKED_BYTES, LOCKED_BYTES };

	if (setrlimit(RLIMIT_MEMLOCK, &locked) < 0 && getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
		locked.rlim_cur = locked.rlim_max;
		(void)setrlimit(RLIMIT_MEMLOCK, &locked); /* up to the hard limit is always allowed */
	}
	return setrlimit(RLIMIT_CORE, &no_core) < 0 ? err_set(err, ERR_HOST, errno, "forbid core dumps") : 0;
}

/* The group that a Unix socket is open to, as its only one. */
static int keep_group(const char *unix_socket, struct err *err)
{
	struct stat st;

	if (!*unix_socket)
		return setgroups(0, NULL) < 0 ? err_set(err, ERR_HOST, errno, "leave root's groups; start it as root") : 0;
	if (stat(unix_socket, &st) < 0)
		return err_set(err, ERR_HOST, errno, "look at the socket '%.150s', to keep its group", unix_socket);
	if (setgroups(st.st_mode & S_IWGRP && st.st_gid != 0 ? 1 : 0, &st.st_gid) < 0)
		return err_set(err, ERR_HOST, errno, "keep group %u of '%.150s'; start it as root", st.st_gid, unix_socket);
	return 0;
}

static int drop_root(uid_t uid, const char *unix_socket, struct err *err)
{
	int r = set_limits(err);

	if (r == 0)
		r = keep_group(unix_socket, err);
	if (r < 0)
		return r;
	r = caps_drop_bounding();
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "drop the capabilities; start it as root");
	if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_set(err, ERR_HOST, errno, "become uid %u; start it as root", uid);
	return 0;
}

#ifdef MAYFLY_SANITIZE
void confine_allow_leak_check(void)
{
	(void)prctl(PR_SET_DUMPABLE, 1); /* LeakSanitizer reads /proc/self/task, which is root's otherwise */
}
#endif

int confine_process(uid_t uid, const char *unix_socket, struct err *err)
{
	int r = drop_root(uid, unix_socket, err);

	if (r < 0)
		return r;
	/* setuid cleared the death signal; if the supervisor died in between, we are somebody else's child. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set(err, ERR_HOST, errno, "confine a process");
	return load_filter(*unix_socket, err);
}
