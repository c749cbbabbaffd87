#include "tools/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/own.h"

#define POLL_MS	       100
#define LOG_TAIL_BYTES 2000

static void pid_path(const struct daemon *daemon, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/run/%s.pid", daemon->state_dir, daemon->name);
}

void daemon_log_path(const struct daemon *daemon, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/log/%s.log", daemon->state_dir, daemon->name);
}

/* Fields 3 and 22 of /proc/<pid>/stat, proc(5): the state, and the start in clock ticks since the boot. 0 when there is no
 * such process or only its zombie is left. */
static unsigned long long start_of(pid_t pid)
{
	char path[64], line[1024];
	cleanup_file FILE *file = NULL;
	unsigned long long start = 0;
	char state = 'Z', *rest;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return 0;
	rest = strrchr(line, ')'); /* the name before it may hold anything */
	if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			    &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static int remember(const struct daemon *daemon, pid_t pid, struct err *err)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;

	pid_path(daemon, path);
	file = fopen(path, "we");
	if (!file || fprintf(file, "%d %llu\n", pid, start_of(pid)) < 0 || fflush(file) != 0)
		return err_set(err, ERR_HOST, errno, "write '%s'", path);
	return 0;
}

static int spawn(const struct daemon *daemon, const char *const argv[], const char *folder, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	char log[PATH_MAX];
	int code;

	daemon_log_path(daemon, log);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0640);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	posix_spawn_file_actions_addchdir_np(&actions, folder);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	code = posix_spawnp(ret, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ); /* it writes none */
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

int daemon_start(const struct daemon *daemon, const char *const argv[], const char *folder, struct err *err)
{
	pid_t pid;
	int code = spawn(daemon, argv, folder, &pid);

	if (code)
		return err_set(err, ERR_HOST, code, "start %s (%s)", daemon->name, argv[0]);
	return remember(daemon, pid, err);
}

pid_t daemon_find(const struct daemon *daemon, int *ret_pidfd)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;
	cleanup_fd int pidfd = -1;
	unsigned long long start;
	pid_t pid;

	pid_path(daemon, path);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%d %llu", &pid, &start) != 2 || pid <= 1)
		return 0;
	(void)waitpid(pid, NULL, WNOHANG);	      /* when this very process has started it */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* first: from here on it is this process or none */
	if (pidfd < 0 || !start || start_of(pid) != start)
		return 0;
	if (ret_pidfd)
		*ret_pidfd = take_fd(&pidfd);
	return pid;
}

uint64_t daemon_age_ms(const struct daemon *daemon)
{
	pid_t pid = daemon_find(daemon, NULL);
	unsigned long long start = pid ? start_of(pid) : 0;
	uint64_t start_ms = start * 1000 / (uint64_t)sysconf(_SC_CLK_TCK), now_ms;
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail for a valid clock */
	now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return start && now_ms > start_ms ? now_ms - start_ms : 0;
}

bool daemon_end(const struct daemon *daemon, int signal, unsigned timeout_ms, void (*tick)(void *ctx), void *ctx)
{
	cleanup_fd int pidfd = -1;
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	struct pollfd pollfd;

	if (!daemon_find(daemon, &pidfd))
		return true;
	if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0)
		return errno == ESRCH;
	pollfd = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	while (poll(&pollfd, 1, POLL_MS) <= 0) {
		if (clock_mono_ms() >= deadline)
			return false;
		if (tick)
			tick(ctx);
	}
	return true;
}

void daemon_show_log(const struct daemon *daemon)
{
	char path[PATH_MAX], tail[LOG_TAIL_BYTES + 1];
	cleanup_file FILE *file = NULL;
	size_t n;

	daemon_log_path(daemon, path);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fseek(file, -LOG_TAIL_BYTES, SEEK_END) < 0)
		rewind(file);
	n = fread(tail, 1, LOG_TAIL_BYTES, file);
	(void)fprintf(stderr, "--- end of %s\n%.*s---\n", path, (int)n, tail);
}

void daemon_forget(const struct daemon *daemon)
{
	char path[PATH_MAX];

	pid_path(daemon, path);
	(void)unlink(path); /* gone already is fine */
}
