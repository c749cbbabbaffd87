#include "guest/agent/launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/own.h"
#include "guest/agent/boot.h"
#include "guest/agent/mounts.h"
#include "guest/agent/executable.h"
#include "guest/agent/kernel_file.h"

#define FAILURE_FD   3
#define FORKNOEXEC  0x40 /* in the kernel's flags of a process (PF_FORKNOEXEC): it is a child that has not executed anything */
#define STAT_BYTES  512  /* the start of /proc/PID/stat */
#define OPEN_FILES_MAX \
	4096 /* descriptors of one process: Debian's hard limit for users is higher, its soft one lower */

enum step { STEP_CGROUP, STEP_STDIO, STEP_ROOT, STEP_LIMITS, STEP_USER, STEP_EXEC, STEP_COUNT };

static const char *const step_names[] = {
	[STEP_CGROUP] = "enter the program's cgroup",
	[STEP_STDIO] = "connect the program's standard streams",
	[STEP_ROOT] = "enter the image",
	[STEP_LIMITS] = "limit the program",
	[STEP_USER] = "become the user 'task'",
	[STEP_EXEC] = "execute the program",
};

static_assert(ARRAY_SIZE(step_names) == STEP_COUNT, "a name for every step");

struct launch_failure { /* small enough for a pipe to pass it whole */
	enum step step;
	int errnum;
	struct executable_failure failure; /* of STEP_EXEC */
};

static const struct {
	const char *name, *value;
} default_env[] = {
	{ "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
	{ "HOME", "/work" },
	{ "USER", "task" },
	{ "LOGNAME", "task" },
	{ "SHELL", "/bin/sh" },
	{ "LANG", "C.UTF-8" },
};

static char *join(const char *name, size_t name_len, const char *value, size_t value_len)
{
	char *text = malloc(name_len + value_len + 2);

	if (!text)
		return NULL;
	memcpy(text, name, name_len);
	text[name_len] = '=';
	if (value_len)
		memcpy(text + name_len + 1, value, value_len);
	text[name_len + 1 + value_len] = '\0';
	return text;
}

static bool is_given(const struct frame *run, const char *name)
{
	for (size_t i = 0; i < run->n_env; i++)
		if (run->env[i].key.len == strlen(name) && memcmp(run->env[i].key.text, name, run->env[i].key.len) == 0)
			return true;
	return false;
}

/* The three makers below run in the child, which ends by exec or _exit: nothing is freed. */
static char **make_env(const struct frame *run)
{
	char **env = calloc(run->n_env + ARRAY_SIZE(default_env) + 1, sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; env && i < ARRAY_SIZE(default_env); i++)
		if (!is_given(run, default_env[i].name))
			env[n++] = join(default_env[i].name, strlen(default_env[i].name), default_env[i].value,
					strlen(default_env[i].value));
	for (size_t i = 0; env && i < run->n_env; i++)
		env[n++] =
			join(run->env[i].key.text, run->env[i].key.len, run->env[i].value.text, run->env[i].value.len);
	for (size_t i = 0; i < n; i++)
		if (!env[i])
			return NULL;
	return env;
}

static char **make_argv(const struct frame *run)
{
	char **argv = calloc(run->n_argv + 1, sizeof(*argv));

	for (size_t i = 0; argv && i < run->n_argv; i++) {
		argv[i] = strndup(run->argv[i].text, run->argv[i].len);
		if (!argv[i])
			return NULL;
	}
	return argv;
}

/* What the child is given. */
struct order {
	const struct frame *run;
	const char *cgroup;
	const int *stdio_fds;
};

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
static int enter_root(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(DISK_ROOT) < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/work") < 0)
		return -errno;
	return 0;
}

static int limit_resources(void)
{
	static const struct rlimit no_core = { 0, 0 }, open_files = { OPEN_FILES_MAX, OPEN_FILES_MAX };
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t none;

	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || setrlimit(RLIMIT_NOFILE, &open_files) < 0)
		return -errno;
	(void)sigaction(SIGPIPE, &by_default, NULL); /* the only one that the agent changed; cannot fail */
	(void)sigemptyset(&none);
	(void)umask(022);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || setsid() < 0)
		return -errno;
	return 0;
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

static int execute(const struct frame *run, struct executable_failure *failure)
{
	char **argv = make_argv(run), **env = make_env(run);

	if (!argv || !env)
		return -ENOMEM;
	return executable_exec(argv, env, failure);
}

static int take_step(const struct order *order, enum step step, struct executable_failure *failure)
{
	switch (step) {
	case STEP_CGROUP:
		return enter_cgroup(order->cgroup);
	case STEP_STDIO:
		return connect_stdio(order->stdio_fds);
	case STEP_ROOT:
		return enter_root();
	case STEP_LIMITS:
		return limit_resources();
	case STEP_USER:
		return AGENT_WEAK ? 0 : become_task();
	case STEP_EXEC:
		return execute(order->run, failure);
	case STEP_COUNT:
		break;
	}
	return -EINVAL;
}

static _Noreturn void run_child(const struct order *order, int failure_fd)
{
	struct launch_failure failure = { .errnum = 0 };

	if (failure_fd != FAILURE_FD && dup3(failure_fd, FAILURE_FD, O_CLOEXEC) < 0)
		_exit(127);
	for (unsigned step = 0; step < STEP_COUNT && failure.errnum == 0; step++) {
		failure.step = (enum step)step;
		failure.errnum = -take_step(order, failure.step, &failure.failure);
	}
	(void)!write(FAILURE_FD, &failure, sizeof(failure)); /* nobody else could be told */
	_exit(127);
}

static int explain(struct launch *launch, const struct launch_failure *failure, struct err *err)
{
	const char *why = failure->failure.why;

	if (failure->step >= STEP_COUNT)
		return err_set(err, ERR_BUG, 0, "the launcher said something unknown");
	if (failure->step == STEP_EXEC) {
		memcpy(launch->missing, failure->failure.missing, sizeof(launch->missing));
		return err_set(err, ERR_INPUT, 0, "cannot run '%s': %s", launch->name,
			       why[0] ? why : strerror(failure->errnum));
	}
	return err_set(err, ERR_HOST, failure->errnum, "%s", step_names[failure->step]);
}

static ssize_t read_failure(int fd, struct launch_failure *ret)
{
	ssize_t n;

	do
		n = read(fd, ret, sizeof(*ret));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void launch_look(struct launch *launch)
{
	char path[32], text[STAT_BYTES];
	unsigned flags = FORKNOEXEC;
	const char *at;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", launch->pid);
	launch->is_looked_at = true;
	if (read_file(path, text, sizeof(text)) < 0)
		return;
	at = strrchr(text, ')'); /* the end of its name, which may hold anything */
	launch->has_executed = at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && !(flags & FORKNOEXEC);
}

enum launch_news launch_hear(struct launch *launch, struct err *err)
{
	struct launch_failure failure;
	ssize_t n = read_failure(launch->failure_fd, &failure);

	if (n == -EAGAIN)
		return LAUNCH_UNDER_WAY;
	close_fd(&launch->failure_fd);
	if (n == 0 && !launch->is_looked_at)
		launch_look(launch);
	if (n == 0 && launch->has_executed)
		return LAUNCH_DONE;
	if (n == sizeof(failure))
		(void)explain(launch, &failure, err);
	else
		(void)err_set(err, ERR_HOST, n < 0 ? (int)-n : 0,
			      "'%s' ended before it was executed; did another program of the task kill it?",
			      launch->name);
	return LAUNCH_FAILED;
}

int launch_begin(struct launch *launch, const struct frame *run, const char *cgroup, const int stdio_fds[3],
		 struct err *err)
{
	const struct order order = { .run = run, .cgroup = cgroup, .stdio_fds = stdio_fds };
	cleanup_fd int read_fd = -1, write_fd = -1;
	int fds[2];

	*launch = (struct launch){ .failure_fd = -1 };
	(void)snprintf(launch->name, sizeof(launch->name), "%.*s", (int)run->argv[0].len, run->argv[0].text);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, ERR_HOST, errno, "a pipe to the launcher");
	read_fd = fds[0];
	write_fd = fds[1];
	if (fcntl(read_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_set(err, ERR_HOST, errno, "a pipe to the launcher");
	launch->pid = fork();
	if (launch->pid < 0)
		return err_set(err, ERR_HOST, errno, "fork");
	if (launch->pid == 0)
		run_child(&order, write_fd);
	launch->failure_fd = take_fd(&read_fd);
	return 0;
}
