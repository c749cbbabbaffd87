/* mayfly-guard: one per microVM. It makes the control group, starts the jail in it, and from then on waits as host/guard.h says: for
 * the VMM's end, for its deadline, for what its owner says. Whatever comes first, it kills everything in the group, removes the
 * group, says how it ended and exits.
 *
 * Root makes the group and starts the jail; who waits is a uid of its own that may kill, read and remove, and nothing else.
 *
 * It belongs to no other process: lanes, engine and supervisor may hang or die. If it dies itself, the VMM dies with it
 * (PDEATHSIG), and the reaper finds the group by its name. It reads nothing that comes from outside: from its socket
 * messages of fixed size, from the VMM's stderr only what it repeats, cleaned, in a log line.
 *
 * usage: mayfly-guard CGROUP MEMORY_MIB CPUS THREADS DEADLINE_BOOT_MS LIMIT_BOOT_MS JAIL [ARG...]
 * JAIL is the program that locks itself in and becomes the VMM. The deadline can be moved, but not beyond the limit.
 * descriptors: 3 is its socket; 4 and up become 3 and up of the VMM. */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/std_fds.h"
#include "host/cgroup.h"
#include "host/guard.h"
#include "host/uids.h"
#include "host/vm.h"

#define SOCKET_FD 3
#define VMM_OOM_SCORE_ADJ 500 /* of 1000 */
#define DESTROY_MS 10000
#define TAIL_BYTES 512     /* of the VMM's last words */
#define HIGH_FD 100        /* the guard's own descriptors start here */

struct guard {
	const char *cgroup;
	struct cgroup_limits limits;
	uint64_t deadline_boot_ms, limit_boot_ms;
	int timer_fd; /* readable from the deadline on */
	int kill_fd; /* of cgroup_open_kill(): it could not be opened without root's rights */
	char **jail_argv; /* from JAIL on */
	pid_t pid;
	int pidfd;
	int stderr_fd;
	char tail[TAIL_BYTES];
	size_t tail_len;
};

static int parse(struct guard *guard, int argc, char **argv)
{
	if (argc < 8)
		return -EINVAL;
	guard->cgroup = argv[1];
	guard->limits.memory_bytes = strtoull(argv[2], NULL, 10) << 20;
	guard->limits.cpus = (uint32_t)strtoul(argv[3], NULL, 10);
	guard->limits.pids = (uint32_t)strtoul(argv[4], NULL, 10);
	guard->deadline_boot_ms = strtoull(argv[5], NULL, 10);
	guard->limit_boot_ms = strtoull(argv[6], NULL, 10);
	guard->jail_argv = argv + 7;
	if (!guard->limits.memory_bytes || !guard->limits.cpus || !guard->limits.pids)
		return -EINVAL;
	return guard->deadline_boot_ms && guard->deadline_boot_ms <= guard->limit_boot_ms ? 0 : -EINVAL;
}

/* The guard's is what the worker's unit gave it, so that the kernel spares it; the VMM is to go before what a host is for. Higher is
 * always allowed. */
static int stop_being_spared(void)
{
	cleanup_fd int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return -errno;
	if (strtol(text, NULL, 10) >= VMM_OOM_SCORE_ADJ)
		return 0;
	return dprintf(fd, "%d", VMM_OOM_SCORE_ADJ) < 0 ? -errno : 0;
}

/* In the child, first of all and never to return: into the group, descriptors to their places, then the jail. */
static void become_jail(const struct guard *guard, int stderr_write_fd)
{
	struct err err = { 0 };
	int fd;

	if (stop_being_spared() < 0)
		_exit(124);
	if (cgroup_enter(guard->cgroup, &err) < 0 || dup2(stderr_write_fd, STDERR_FILENO) < 0)
		_exit(120);
	for (fd = SOCKET_FD + 1; fcntl(fd, F_GETFD) >= 0 && fd < SOCKET_FD + 1 + VM_MAX_FDS; fd++)
		if (dup2(fd, fd - 1) < 0)
			_exit(121);
	if (close_range((unsigned)fd - 1, ~0u, 0) < 0)
		_exit(122);
	execv(guard->jail_argv[0], guard->jail_argv);
	_exit(123);
}

/* The descriptors from 4 on are the VMM's. Passes a failure on. */
static int move_high(int low)
{
	int high = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, HIGH_FD);

	close_fd(&low);
	return high;
}

static int open_pidfd(pid_t pid)
{
	return move_high((int)syscall(SYS_pidfd_open, pid, 0));
}

/* An absolute time: neither a late start nor a suspended host moves it. One that has passed fires at once; zero would never. */
static int set_timer(int fd, uint64_t deadline_boot_ms)
{
	const struct itimerspec at = { .it_value = { .tv_sec = (time_t)(deadline_boot_ms / 1000),
						     .tv_nsec = (long)(deadline_boot_ms % 1000) * 1000000 + 1 } };

	return timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0 ? -errno : 0;
}

static int open_timer(uint64_t deadline_boot_ms)
{
	int fd = move_high(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));

	if (fd >= 0 && set_timer(fd, deadline_boot_ms) < 0)
		close_fd(&fd);
	return fd;
}

static int start_jail(struct guard *guard)
{
	int pipe_fds[2];
	long pid;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	guard->stderr_fd = move_high(pipe_fds[0]);
	pipe_fds[0] = move_high(pipe_fds[1]);
	/* A pid namespace begins with the next child; everything else is the jail's own to unshare. */
	pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		become_jail(guard, pipe_fds[0]);
	}
	close_fd(&pipe_fds[0]);
	if (pid < 0)
		return -errno;
	guard->pid = (pid_t)pid;
	guard->pidfd = open_pidfd(guard->pid);
	return guard->pidfd < 0 ? -errno : 0;
}

/* What waiting, killing and removing take. No new process or program, nothing written but to descriptors that are open; the only
 * signal is SIGKILL. */
static const int allowed_calls[] = {
	SCMP_SYS(access), SCMP_SYS(brk), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(close), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fstat), SCMP_SYS(futex), SCMP_SYS(getpid),
	SCMP_SYS(getrandom), SCMP_SYS(gettid), SCMP_SYS(lseek), SCMP_SYS(madvise), SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(mremap),
	SCMP_SYS(munmap), SCMP_SYS(nanosleep), SCMP_SYS(newfstatat), SCMP_SYS(pidfd_open), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(read), SCMP_SYS(recvfrom), SCMP_SYS(restart_syscall), SCMP_SYS(rmdir), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sendto), SCMP_SYS(timerfd_settime), SCMP_SYS(unlinkat), SCMP_SYS(wait4), SCMP_SYS(write),
	SCMP_SYS(writev),
#ifdef MAYFLY_SANITIZE
	/* LeakSanitizer looks at its own process from a tracer that it clones at exit. */
	SCMP_SYS(clone), SCMP_SYS(prctl), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(tgkill), SCMP_SYS(setpriority),
	SCMP_SYS(personality), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(sigaltstack), SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64), SCMP_SYS(readlink), SCMP_SYS(sched_yield), SCMP_SYS(getppid), SCMP_SYS(rt_sigtimedwait),
#endif
};

static const struct {
	int call;
	unsigned argument;
	uint64_t mask, value;
} allowed_uses[] = {
	{ SCMP_SYS(kill), 1, ~0ull, SIGKILL },
	{ SCMP_SYS(pidfd_send_signal), 1, ~0ull, SIGKILL },
	{ SCMP_SYS(open), 1, O_ACCMODE | O_CREAT, O_RDONLY },
	{ SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT, O_RDONLY },
};

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(allowed_calls) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(allowed_uses) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_uses[i].call, 1,
				     SCMP_CMP64(allowed_uses[i].argument, SCMP_CMP_MASKED_EQ, allowed_uses[i].mask,
						allowed_uses[i].value));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

static int keep_only_the_right_to_kill(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = 1u << CAP_KILL, .permitted = 1u << CAP_KILL } };
	int r = caps_drop_bounding();

	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresgid(UID_GUARD, UID_GUARD, UID_GUARD) < 0 ||
	    setresuid(UID_GUARD, UID_GUARD, UID_GUARD) < 0 || syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return 0;
}

/* Root's work is done when the VMM has started: what is left is to wait, to kill it, and to remove its group. */
static int drop_privileges(void)
{
	int r = keep_only_the_right_to_kill();

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	return filter_calls();
}

/* False when there is nothing more to read now. */
static bool keep_tail(struct guard *guard)
{
	char chunk[TAIL_BYTES];
	ssize_t n = read(guard->stderr_fd, chunk, sizeof(chunk));
	size_t keep;

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		close_fd(&guard->stderr_fd);
		return false;
	}
	keep = sizeof(guard->tail) - (size_t)n < guard->tail_len ? sizeof(guard->tail) - (size_t)n : guard->tail_len;
	memmove(guard->tail, guard->tail + guard->tail_len - keep, keep);
	memcpy(guard->tail + keep, chunk, (size_t)n);
	guard->tail_len = keep + (size_t)n;
	return true;
}

/* Closing a socket with something unread in it makes an error for the other end, which comes before what we sent. */
static void drain_socket(void)
{
	char byte;

	while (recv(SOCKET_FD, &byte, sizeof(byte), MSG_DONTWAIT) > 0)
		;
}

enum reason { REASON_NONE, REASON_ENDED, REASON_DEADLINE, REASON_ASKED };

static enum reason refuse_owner(const struct guard *guard, const char *why)
{
	log_error("guard.refused", "cgroup=%s message=\"%s; killing the microVM\"", guard->cgroup, why);
	return REASON_ASKED;
}

static enum reason move_deadline(struct guard *guard, uint64_t deadline_boot_ms)
{
	if (deadline_boot_ms > guard->limit_boot_ms)
		return refuse_owner(guard, "its owner asks for a deadline beyond the limit that was fixed at the start");
	if (set_timer(guard->timer_fd, deadline_boot_ms) < 0)
		return REASON_DEADLINE;
	guard->deadline_boot_ms = deadline_boot_ms;
	return REASON_NONE;
}

static enum reason hear_owner(struct guard *guard)
{
	struct guard_message message;
	int r = guard_hear(SOCKET_FD, &message);

	if (r == -EAGAIN)
		return REASON_NONE;
	if (r == -EBADMSG)
		return refuse_owner(guard, "its owner said something that is no message to a guard");
	if (r == 0 && message.type == GUARD_SET_DEADLINE)
		return move_deadline(guard, message.of.deadline_boot_ms);
	return REASON_ASKED; /* KILL, or nobody is there any more */
}

static enum reason wait_for_end(struct guard *guard)
{
	enum reason reason = REASON_NONE;

	while (reason == REASON_NONE) {
		struct pollfd fds[] = { { .fd = guard->pidfd, .events = POLLIN },
					{ .fd = SOCKET_FD, .events = POLLIN },
					{ .fd = guard->stderr_fd, .events = POLLIN },
					{ .fd = guard->timer_fd, .events = POLLIN } };

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			return REASON_DEADLINE;
		}
		if (fds[2].revents)
			(void)keep_tail(guard); /* the next round reads on */
		if (fds[0].revents)
			return REASON_ENDED;
		if (fds[3].revents)
			return REASON_DEADLINE;
		if (fds[1].revents)
			reason = hear_owner(guard);
	}
	return reason;
}

static void clean_up(struct guard *guard, enum reason reason)
{
	struct vm_exit vm_exit = { .is_deadline = reason == REASON_DEADLINE };
	struct rusage usage = { 0 };
	struct err err;
	int status = 0;

	vm_exit.is_out_of_memory = cgroup_has_oom_kill(guard->cgroup);
	(void)kill(guard->pid, SIGKILL); /* our child: it exists, alive or not */
	while (wait4(guard->pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	if (cgroup_destroy_by(guard->cgroup, guard->kill_fd, DESTROY_MS, &err) < 0) {
		log_error("guard.left", "message=\"%s\"", err.msg);
		return; /* the socket's end without a message says that the lane must look */
	}
	while (guard->stderr_fd >= 0 && keep_tail(guard)) /* nobody writes any more: at most a pipe full */
		;
	vm_exit.wait_status = status;
	vm_exit.max_rss_kib = (uint64_t)usage.ru_maxrss;
	vm_exit.cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000u +
			 (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000u;
	if (reason == REASON_ENDED)
		log_warn("guard.vmm", "cgroup=%s status=0x%x message=\"%.*s\"", guard->cgroup, (unsigned)status,
			 (int)guard->tail_len, guard->tail);
	drain_socket();
	guard_tell_end(SOCKET_FD, &vm_exit);
}

int main(int argc, char **argv)
{
	struct guard guard = { .stderr_fd = -1, .pidfd = -1, .timer_fd = -1, .kill_fd = -1 };
	static const int ignored[] = { SIGCHLD, SIGTERM, SIGINT }; /* by the lane, and its children inherit that */
	struct err err;
	int r;

	if (std_fds_fill() < 0)
		return 1;
	log_init("guard", LOG_LEVEL_INFO);
	if (parse(&guard, argc, argv) < 0) {
		(void)fputs("usage: mayfly-guard CGROUP MEMORY_MIB CPUS THREADS DEADLINE_BOOT_MS LIMIT_BOOT_MS JAIL [ARG...]\n", stderr);
		return 2;
	}
	guard.timer_fd = open_timer(guard.deadline_boot_ms);
	if (guard.timer_fd < 0) {
		log_error("guard.timer", "cgroup=%s errno=%d", guard.cgroup, errno);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_DFL);
	(void)setsid(); /* fails when it leads a session already, which is as good */
	r = cgroup_make(guard.cgroup, &guard.limits, &err);
	if (r == -EEXIST) {
		log_error("guard.cgroup", "message=\"%s\"", err.msg);
		return 1; /* another's */
	}
	if (r < 0 || cgroup_let_remove(guard.cgroup, UID_GUARD, &err) < 0) {
		log_error("guard.cgroup", "message=\"%s\"", err.msg);
		(void)cgroup_destroy(guard.cgroup, DESTROY_MS, &err);
		return 1;
	}
	guard.kill_fd = move_high(cgroup_open_kill(guard.cgroup));
	r = start_jail(&guard);
	for (int fd = SOCKET_FD + 1; fd < SOCKET_FD + 1 + VM_MAX_FDS; fd++)
		(void)close(fd); /* the VMM's; not all are open */
	if (r == 0)
		r = drop_privileges();
	if (r < 0) {
		log_error("guard.start", "cgroup=%s errno=%d", guard.cgroup, -r);
		(void)cgroup_destroy(guard.cgroup, DESTROY_MS, &err);
		return 1;
	}
	clean_up(&guard, wait_for_end(&guard));
#ifdef MAYFLY_SANITIZE
	(void)prctl(PR_SET_DUMPABLE, 1); /* LeakSanitizer reads /proc/self/task, which is root's otherwise */
#endif
	return 0;
}
