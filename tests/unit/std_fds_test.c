/* Every program of ours, started with every choice of closed standard descriptors: at its end each of them is open. Looked at
 * from outside, in /proc, while the program is held at its exit. */
#include "base/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define ALL_CLOSED 8u /* one beyond the last choice of closed descriptors, a bit each */

static const char *const own_programs[][2] = { { MAYFLY, "--version" },
					       { WORKER, "--help" },
					       { REAPER, "--help" },
					       { GUARD, NULL },
					       { JAIL, NULL } };

/* The child. Its first stop is at execve(2). */
static _Noreturn void become(const char *const program[2], unsigned closed)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (dup2(null_fd, fd) < 0)
			_exit(1);
	(void)close(null_fd);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || setenv("ASAN_OPTIONS", "detect_leaks=0", 1) < 0)
		_exit(1); /* the leak checker wants to be the tracer itself */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (closed & 1u << fd)
			(void)close(fd);
	(void)execl(program[0], program[0], program[1], NULL);
	_exit(1);
}

/* Let it run until it is about to go, with all it has opened. */
static void run_to_exit(pid_t pid)
{
	int status, number = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)), 0);
	do {
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)number), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		number = status >> 16 ? 0 : WSTOPSIG(status);
	} while (status >> 16 != PTRACE_EVENT_EXIT);
}

/* Where the descriptor of the held program leads, "" when it is closed. */
static void where(pid_t pid, int fd, char out[PATH_MAX])
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, out, PATH_MAX - 1);
	out[n < 0 ? 0 : n] = '\0';
}

static void check(const char *const program[2], unsigned closed, const char *expected)
{
	char found[PATH_MAX];
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		become(program, closed);
	run_to_exit(pid);
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		where(pid, fd, found);
		if (strcmp(found, closed & 1u << fd ? expected : "/dev/null") != 0)
			fail_msg("%s, closed %u: descriptor %d is '%s'", program[0], closed, fd, found);
	}
	assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
}

static void test_every_program_fills_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(own_programs) / sizeof(own_programs[0]); i++)
		for (unsigned closed = 0; closed < ALL_CLOSED; closed++)
			check(own_programs[i], closed, "/dev/null");
}

/* The control: one that does not, seen by the same eyes. */
static void test_another_program_does_not(void **state)
{
	static const char *const other[2] = { "/bin/true", NULL };

	(void)state;
	check(other, 1, "");
	check(other, 4, "");
}

static void test_it_remembers_which(void **state)
{
	int saved_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);

	(void)state;
	assert_int_equal(close(STDIN_FILENO), 0);
	assert_int_equal(std_fds_fill(), 0);
	assert_true(std_fds_was_closed(STDIN_FILENO));
	assert_false(std_fds_was_closed(STDOUT_FILENO));
	assert_false(std_fds_was_closed(-1));
	assert_false(std_fds_was_closed(3));
	assert_true(dup2(saved_fd, STDIN_FILENO) == STDIN_FILENO);
	assert_int_equal(close(saved_fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_program_fills_them),
		cmocka_unit_test(test_another_program_does_not),
		cmocka_unit_test(test_it_remembers_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
