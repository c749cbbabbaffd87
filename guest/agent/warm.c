#include "guest/agent/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/own.h"
#include "guest/agent/boot.h"
#include "guest/agent/kernel_file.h"
#include "guest/agent/launch_steps.h"
#include "guest/agent/mounts.h"
#include "guest/agent/warm_argv.h"
#include "guest/warm/order.h"

#define WARM_PATIENCE_MS 60000 /* a template waits, no task does; imports take seconds on an emulated processor */

/* There is one for the whole life of the VM. */
static struct {
	int socket_fd;
	pid_t pid;
	const struct warm_runtime *runtime; /* NULL: none waits */
} warm = { .socket_fd = -1 };

static int enter_image(void)
{
	int r = launch_enter(IMAGE_ROOT, "/");

	if (r == 0 && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		r = -errno;
	return r;
}

/* 0, 1 and 2 are pipes, as they are for a program: what an interpreter learns of them at its start stays true. */
static int connect_pipes(void)
{
	int fds[2];

	if (pipe(fds) < 0 || dup2(fds[1], STDERR_FILENO) < 0 || dup2(fds[1], STDOUT_FILENO) < 0 ||
	    dup2(fds[0], STDIN_FILENO) < 0)
		return -errno;
	(void)close(fds[0]);
	(void)close(fds[1]);
	return 0;
}

static _Noreturn void become_runtime(const struct warm_runtime *runtime, int socket_fd, int library_fd)
{
	char *const *env = launch_default_env();

	(void)umask(022);
	/* Out of the way of the numbers that they are to have. */
	socket_fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, WARM_LIBRARY_FD + 1);
	library_fd = fcntl(library_fd, F_DUPFD_CLOEXEC, WARM_LIBRARY_FD + 1);
	if (env && launch_reset_signals() == 0 && setsid() >= 0 && dup2(socket_fd, WARM_SOCKET_FD) >= 0 && dup2(library_fd, WARM_LIBRARY_FD) >= 0 &&
	    connect_pipes() == 0 && enter_image() == 0)
		(void)execve(runtime->program, runtime->argv, env);
	_exit(127);
}

static int hear_ready(int socket_fd, struct err *err)
{
	struct pollfd poll_fd = { .fd = socket_fd, .events = POLLIN };
	uint32_t word = 0;
	uint64_t deadline_ms = clock_mono_ms() + WARM_PATIENCE_MS, now_ms;
	int r = 0;

	while (r == 0 && (now_ms = clock_mono_ms()) < deadline_ms) {
		r = poll(&poll_fd, 1, (int)(deadline_ms - now_ms));
		if (r < 0 && errno == EINTR)
			r = 0;
	}
	if (r > 0 && recv(socket_fd, &word, sizeof(word), MSG_DONTWAIT) == sizeof(word) && word == WARM_READY)
		return 0;
	return err_set(err, ERR_HOST, r == 0 ? ETIMEDOUT : 0, "the image's warm runtime does not come to wait");
}

static int start(const struct warm_runtime *runtime, struct err *err)
{
	cleanup_fd int own_fd = -1, its_fd = -1, library_fd = -1;
	char path[64];
	int fds[2];
	pid_t pid;

	(void)snprintf(path, sizeof(path), WARM_LIBRARIES "/%s.so", runtime->name);
	library_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (library_fd < 0)
		return err_set(err, ERR_HOST, errno,
			       "open %s of the kernel bundle: it was built without the headers of that runtime", path);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set(err, ERR_HOST, errno, "a socket to the warm runtime");
	own_fd = fds[0];
	its_fd = fds[1];
	pid = fork();
	if (pid < 0)
		return err_set(err, ERR_HOST, errno, "fork");
	if (pid == 0)
		become_runtime(runtime, its_fd, library_fd);
	close_fd(&its_fd); /* so that its end is heard */
	if (hear_ready(own_fd, err) < 0) {
		(void)kill(pid, SIGKILL);
		return -EIO;
	}
	warm.socket_fd = take_fd(&own_fd);
	warm.pid = pid;
	warm.runtime = runtime;
	return 1;
}

int warm_start(struct err *err)
{
	const struct warm_runtime *runtime;
	char name[32];

	if (read_file(IMAGE_ROOT WARM_FILE, name, sizeof(name)) < 0)
		return 0;
	runtime = warm_runtime_find(name);
	if (!runtime)
		return err_set(err, ERR_HOST, 0, "this agent knows no warm runtime '%s', which the image names", name);
	return start(runtime, err);
}

void warm_reseed(void)
{
	static const uint32_t word = WARM_RESEED;

	if (warm.runtime && send(warm.socket_fd, &word, sizeof(word), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(word))
		warm.runtime = NULL; /* without numbers of its own it is nobody's interpreter */
}

void warm_give_up(void)
{
	if (warm.runtime)
		(void)kill(warm.pid, SIGKILL);
	warm.runtime = NULL;
}

bool warm_takes(const struct frame *run)
{
	return warm.runtime && !AGENT_WEAK && warm_runtime_takes(warm.runtime, run);
}

static bool append(char *order, size_t *len, const char *text)
{
	size_t bytes = strlen(text) + 1;

	if (bytes > WARM_ORDER_MAX - *len)
		return false;
	memcpy(order + *len, text, bytes);
	*len += bytes;
	return true;
}

/* Returns its length, 0 when it is too much for one. */
static size_t write_order(char order[WARM_ORDER_MAX], const char *cgroup, char *const *argv, char *const *env)
{
	struct warm_order head = { .word = WARM_PROGRAM };
	size_t len = sizeof(head);
	bool fits = append(order, &len, cgroup);

	for (; fits && argv[head.n_argv]; head.n_argv++)
		fits = append(order, &len, argv[head.n_argv]);
	for (; fits && env[head.n_env]; head.n_env++)
		fits = append(order, &len, env[head.n_env]);
	memcpy(order, &head, sizeof(head));
	return fits ? len : 0;
}

static bool order_program(const struct frame *run, const char *cgroup, const int stdio_fds[3], int report_fd)
{
	const int fds[WARM_ORDER_FDS] = { stdio_fds[0], stdio_fds[1], stdio_fds[2], report_fd };
	cleanup_free char *order = malloc(WARM_ORDER_MAX);
	char **argv = launch_argv(run), **env = launch_env(run);
	size_t len = order && argv && env ? write_order(order, cgroup, argv, env) : 0;
	bool is_sent = len && fd_send(warm.socket_fd, order, len, fds, WARM_ORDER_FDS, MSG_DONTWAIT) == (ssize_t)len;

	launch_free_texts(argv);
	launch_free_texts(env);
	return is_sent;
}

int warm_launch(struct launch *launch, const struct frame *run, const char *cgroup, const int stdio_fds[3],
		struct err *err)
{
	cleanup_fd int report_fd = -1;
	int r = launch_prepare(launch, run, &report_fd, err);

	if (r < 0 || order_program(run, cgroup, stdio_fds, report_fd))
		return r;
	close_fd(&launch->failure_fd);
	return launch_begin(launch, run, cgroup, stdio_fds, err); /* too long, or nobody waits any more */
}
