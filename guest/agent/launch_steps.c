#include "guest/agent/launch_steps.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/caps.h"
#include "guest/agent/boot.h"
#include "guest/agent/kernel_file.h"
#include "guest/agent/mounts.h"

#define OPEN_FILES_MAX \
	4096 /* descriptors of one process: Debian's hard limit for users is higher, its soft one lower */

static int enter_cgroup(const char *cgroup)
{
	char path[PATH_MAX];
	int r;

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	r = write_file(path, "0");
	if (r == 0) /* should the kernel run out of memory outside of the cgroup: the task first, the agent never */
		r = write_file("/proc/self/oom_score_adj", "500");
	if (r == 0 && setpriority(PRIO_PROCESS, 0, 0) < 0)
		r = -errno;
	return r;
}

static int connect_stdio(const int *fds)
{
	for (int i = 0; i < 3; i++) {
		assert(fds[i] > FAILURE_FD);
		if (dup2(fds[i], i) < 0)
			return -errno;
	}
	return close_range(FAILURE_FD + 1, UINT_MAX, 0) < 0 ? -errno : 0;
}

/* The initrd cannot be left by pivot_root(2): the image is moved over it instead. What lies beneath is out of reach
 * of a process without capabilities, which can neither unmount nor leave its root. */
int launch_enter(const char *root, const char *folder)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(root) < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir(folder) < 0)
		return -errno;
	return 0;
}

int launch_reset_signals(void)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t none;

	(void)sigaction(SIGPIPE, &by_default, NULL); /* the only one that the agent changed; cannot fail */
	(void)sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int limit_resources(void)
{
	static const struct rlimit no_core = { 0, 0 }, open_files = { OPEN_FILES_MAX, OPEN_FILES_MAX };
	int r;

	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || setrlimit(RLIMIT_NOFILE, &open_files) < 0)
		return -errno;
	(void)umask(022);
	r = launch_reset_signals();
	return r == 0 && setsid() < 0 ? -errno : r;
}

static int become_task(void)
{
	int r = caps_drop_bounding();

	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(TASK_GID, TASK_GID, TASK_GID) < 0 ||
	    setresuid(TASK_UID, TASK_UID, TASK_UID) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int launch_take_steps(const char *cgroup, const int stdio_fds[3], enum launch_step *ret_step)
{
	int r = 0;

	for (unsigned step = 0; r == 0 && step < STEP_EXEC; step++) {
		*ret_step = (enum launch_step)step;
		switch (*ret_step) {
		case STEP_CGROUP:
			r = enter_cgroup(cgroup);
			break;
		case STEP_STDIO:
			r = connect_stdio(stdio_fds);
			break;
		case STEP_ROOT:
			r = launch_enter(DISK_ROOT, "/work");
			break;
		case STEP_LIMITS:
			r = limit_resources();
			break;
		case STEP_USER:
			r = AGENT_WEAK ? 0 : become_task();
			break;
		case STEP_EXEC:
		case STEP_COUNT:
			break;
		}
	}
	return r;
}
