/* A supervisor's children, real ones: what stops them, who sees that, and that they do not outlive it. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "host/child.h"

/* One that says that it is there, and ends when the other end of its socket has. */
static pid_t start(enum child_stop stop, int *ret_fd)
{
	char byte = 0;
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = child_fork(stop);
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(pair[0]);
		(void)send(pair[1], &byte, 1, 0);
		(void)recv(pair[1], &byte, 1, 0);
		_exit(7);
	}
	(void)close(pair[1]);
	assert_int_equal(recv(pair[0], &byte, 1, 0), 1);
	*ret_fd = pair[0];
	return pid;
}

static void test_a_signal_stops_one(void **state)
{
	cleanup_fd int fd = -1;
	int status;
	pid_t pid;

	(void)state;
	pid = start(CHILD_STOP_BY_SIGNAL, &fd);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* Two that were stopped before they listened, of which only one was asked to; one that was killed; one that ended by itself. */
static void test_its_exit_status(void **state)
{
	static const struct {
		int signal; /* 0: its socket ends */
		bool is_stopping;
		int expected;
	} cases[] = { { SIGTERM, true, 0 }, { SIGTERM, false, 1 }, { SIGKILL, true, 1 }, { 0, true, 7 }, { 0, false, 7 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd, status;
		pid_t pid = start(CHILD_STOP_BY_SIGNAL, &fd);

		if (cases[i].signal)
			assert_int_equal(kill(pid, cases[i].signal), 0);
		else
			close_fd(&fd);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(child_exit_status(status, cases[i].is_stopping), cases[i].expected);
		close_fd(&fd);
	}
}

static void test_only_its_sockets_end_stops_a_helper(void **state)
{
	int fd, status;
	pid_t pid;

	(void)state;
	pid = start(CHILD_STOP_BY_SOCKET, &fd);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(kill(pid, SIGINT), 0);
	(void)close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void test_a_killed_one_is_waited_for(void **state)
{
	cleanup_fd int fd = -1;
	pid_t pid;

	(void)state;
	pid = start(CHILD_STOP_BY_SOCKET, &fd);
	assert_true(child_kill(pid));
	assert_int_equal(waitpid(pid, NULL, 0), -1);
	assert_int_equal(errno, ECHILD);
	pid = start(CHILD_STOP_BY_SOCKET, &fd);
	close_fd(&fd);
	assert_true(child_await(pid));
}

/* The signals of the supervisor are blocked, its children's are not. */
static void test_signals_are_read(void **state)
{
	struct signalfd_siginfo info;
	cleanup_fd int signal_fd = -1, fd = -1;
	struct err err;
	struct pollfd ready;
	pid_t pid;

	(void)state;
	assert_int_equal(child_signals_open(&signal_fd, &err), 0);
	ready = (struct pollfd){ .fd = signal_fd, .events = POLLIN };
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(read(signal_fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGTERM);
	pid = start(CHILD_STOP_BY_SIGNAL, &fd);
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(poll(&ready, 1, -1), 1);
	assert_int_equal(read(signal_fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGCHLD);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A supervisor that dies, with a child that waits for nothing: it becomes ours (a subreaper's), and has been killed. */
static void test_it_does_not_outlive_its_parent(void **state)
{
	pid_t supervisor, child;
	int status, ready[2];
	char byte = 0;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	supervisor = fork();
	assert_true(supervisor >= 0);
	if (supervisor == 0 && child_fork(CHILD_STOP_BY_SOCKET) == 0)
		(void)write(ready[1], &byte, 1);
	if (supervisor == 0)
		(void)pause();
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(kill(supervisor, SIGKILL), 0);
	assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
	child = wait(&status);
	assert_true(child > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close_fd(&ready[0]);
	close_fd(&ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_signal_stops_one),
		cmocka_unit_test(test_its_exit_status),
		cmocka_unit_test(test_only_its_sockets_end_stops_a_helper),
		cmocka_unit_test(test_a_killed_one_is_waited_for),
		cmocka_unit_test(test_signals_are_read),
		cmocka_unit_test(test_it_does_not_outlive_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
