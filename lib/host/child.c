#include "host/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static void become_child(enum child_stop stop, pid_t parent)
{
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (stop == CHILD_STOP_BY_SOCKET) {
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
	}
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with a valid set */
}

pid_t child_fork(enum child_stop stop)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		become_child(stop, parent);
	return pid;
}

int child_signals_open(int *ret_fd, struct err *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(err, ERR_HOST, errno, "block signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "a signalfd");
	*ret_fd = fd;
	return 0;
}

int child_exit_status(int wait_status, bool is_stopping)
{
	if (WIFEXITED(wait_status))
		return WEXITSTATUS(wait_status);
	return is_stopping && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM ? 0 : 1;
}

bool child_await(pid_t pid)
{
	uint64_t deadline_ms = clock_mono_ms() + CHILD_FAREWELL_MS;
	pid_t ended;

	while ((ended = waitpid(pid, NULL, WNOHANG)) == 0 && clock_mono_ms() < deadline_ms)
		(void)poll(NULL, 0, 1);
	return ended != 0;
}

bool child_kill(pid_t pid)
{
	(void)kill(pid, SIGKILL); /* ours, not yet waited for */
	return child_await(pid);
}
