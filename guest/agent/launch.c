#include "guest/agent/launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/executable.h"
#include "guest/agent/kernel_file.h"
#include "guest/agent/launch_steps.h"

#define FORKNOEXEC  0x40 /* in the kernel's flags of a process (PF_FORKNOEXEC): it is a child that has not executed anything */
#define STAT_BYTES  512  /* the start of /proc/PID/stat */

static const char *const step_names[] = {
	[STEP_CGROUP] = "enter the program's cgroup",
	[STEP_STDIO] = "connect the program's standard streams",
	[STEP_ROOT] = "enter the image",
	[STEP_LIMITS] = "limit the program",
	[STEP_USER] = "become the user 'task'",
	[STEP_EXEC] = "execute the program",
};

static_assert(ARRAY_SIZE(step_names) == STEP_COUNT, "a name for every step");

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

bool launch_has_env(const struct frame *run, const char *name)
{
	for (size_t i = 0; i < run->n_env; i++)
		if (run->env[i].key.len == strlen(name) && memcmp(run->env[i].key.text, name, run->env[i].key.len) == 0)
			return true;
	return false;
}

void launch_free_texts(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

char **launch_env(const struct frame *run)
{
	char **env = calloc(run->n_env + ARRAY_SIZE(default_env) + 1, sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; env && i < ARRAY_SIZE(default_env); i++)
		if (!launch_has_env(run, default_env[i].name))
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

char **launch_default_env(void)
{
	static const struct frame nothing = { .n_env = 0 };

	return launch_env(&nothing);
}

char **launch_argv(const struct frame *run)
{
	char **argv = calloc(run->n_argv + 1, sizeof(*argv));

	for (size_t i = 0; argv && i < run->n_argv; i++) {
		argv[i] = strndup(run->argv[i].text, run->argv[i].len);
		if (!argv[i])
			return NULL;
	}
	return argv;
}

/* In the child, which ends by exec or _exit: nothing is freed. */
static int execute(const struct frame *run, struct executable_failure *failure)
{
	char **argv = launch_argv(run), **env = launch_env(run);

	if (!argv || !env)
		return -ENOMEM;
	return executable_exec(argv, env, failure);
}

static _Noreturn void run_child(const struct frame *run, const char *cgroup, const int *stdio_fds, int failure_fd)
{
	struct launch_report report = { .errnum = 0 };

	if (failure_fd != FAILURE_FD && dup3(failure_fd, FAILURE_FD, O_CLOEXEC) < 0)
		_exit(127);
	report.errnum = -launch_take_steps(cgroup, stdio_fds, &report.step);
	if (report.errnum == 0) {
		report.step = STEP_EXEC;
		report.errnum = -execute(run, &report.failure);
	}
	(void)!write(FAILURE_FD, &report, sizeof(report)); /* nobody else could be told */
	_exit(127);
}

static int explain(struct launch *launch, const struct launch_report *report, struct err *err)
{
	const char *why = report->failure.why;

	if (report->step >= STEP_COUNT)
		return err_set(err, ERR_BUG, 0, "the launcher said something unknown");
	if (report->step == STEP_EXEC) {
		memcpy(launch->missing, report->failure.missing, sizeof(launch->missing));
		return err_set(err, ERR_INPUT, 0, "cannot run '%s': %s", launch->name,
			       why[0] ? why : strerror(report->errnum));
	}
	return err_set(err, ERR_HOST, report->errnum, "%s", step_names[report->step]);
}

static ssize_t read_report(int fd, struct launch_report *ret)
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

/* A fork of a warm runtime says who it is, and then that it is the program. Later it is the task's, and says no more. */
static enum launch_news take_word(struct launch *launch, const struct launch_report *report)
{
	if (!launch->pid) {
		launch->pid = report->pid;
		if (launch->is_to_be_killed)
			(void)kill(launch->pid, SIGKILL);
	}
	if (report->step != STEP_EXEC)
		return LAUNCH_UNDER_WAY;
	close_fd(&launch->failure_fd);
	launch->is_looked_at = launch->has_executed = true;
	return LAUNCH_DONE;
}

enum launch_news launch_hear(struct launch *launch, struct err *err)
{
	struct launch_report report;
	ssize_t n = read_report(launch->failure_fd, &report);

	if (n == -EAGAIN)
		return LAUNCH_UNDER_WAY;
	if (n == sizeof(report) && report.errnum == 0 && report.pid > 0)
		return take_word(launch, &report);
	close_fd(&launch->failure_fd);
	if (n == 0 && launch->pid && !launch->is_looked_at)
		launch_look(launch);
	if (n == 0 && launch->has_executed)
		return LAUNCH_DONE;
	if (n == sizeof(report))
		(void)explain(launch, &report, err);
	else
		(void)err_set(err, ERR_HOST, n < 0 ? (int)-n : 0,
			      "'%s' ended before it was executed; did another program of the task kill it?",
			      launch->name);
	return LAUNCH_FAILED;
}

int launch_prepare(struct launch *launch, const struct frame *run, int *ret_report_fd, struct err *err)
{
	int fds[2];

	*launch = (struct launch){ .failure_fd = -1 };
	(void)snprintf(launch->name, sizeof(launch->name), "%.*s", (int)run->argv[0].len, run->argv[0].text);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, ERR_HOST, errno, "a pipe to the launcher");
	launch->failure_fd = fds[0];
	*ret_report_fd = fds[1];
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	close_fd(&launch->failure_fd);
	return err_set(err, ERR_HOST, errno, "a pipe to the launcher");
}

int launch_begin(struct launch *launch, const struct frame *run, const char *cgroup, const int stdio_fds[3],
		 struct err *err)
{
	cleanup_fd int report_fd = -1;
	int r = launch_prepare(launch, run, &report_fd, err);

	if (r < 0)
		return r;
	launch->pid = fork();
	if (launch->pid == 0)
		run_child(run, cgroup, stdio_fds, report_fd);
	if (launch->pid > 0)
		return 0;
	launch->pid = 0;
	close_fd(&launch->failure_fd);
	return err_set(err, ERR_HOST, errno, "fork");
}
