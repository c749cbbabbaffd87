/* cgroup.kill, on the real file system of version 2, mounted where this test alone sees it. Its controllers may all be with version 1 here:
 * a list that says otherwise is laid over the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "host/cgroup.h"
#include "tests/unit/unit.h"

#define ROOT "/sys/fs/cgroup"
#define PATIENT_MS 20000
#define HASTY_MS   300

static char parent[64], group[96]; /* below ROOT */

static void put(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void in_root(char out[PATH_MAX], const char *path, const char *file)
{
	(void)snprintf(out, PATH_MAX, ROOT "/%s/%s", path, file);
}

static int enter_v2(void **state)
{
	char list[] = "/tmp/mayfly-controllers.XXXXXX", path[PATH_MAX];
	int fd = mkstemp(list);

	(void)state;
	assert_true(fd >= 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	(void)close(fd);
	if (mount("none", ROOT, "cgroup2", 0, NULL) < 0 || access(ROOT "/cgroup.controllers", F_OK) < 0) {
		print_message("SKIP: this kernel mounts no cgroup2: %s\n", strerror(errno));
		exit(getenv("MAYFLY_MUST_RUN") ? 1 : 77);
	}
	put(list, "memory pids cpu\n");
	assert_int_equal(mount(list, ROOT "/cgroup.controllers", NULL, MS_BIND, NULL), 0);
	(void)unlink(list);
	assert_int_equal(cgroup_version(), 2);
	(void)snprintf(parent, sizeof(parent), "mayfly.cgrouptest-%d", (int)getpid());
	(void)snprintf(group, sizeof(group), "%s/vm-x", parent);
	in_root(path, parent, "");
	assert_int_equal(mkdir(path, 0755), 0);
	return 0;
}

static int leave_v2(void **state)
{
	char path[PATH_MAX];

	(void)state;
	in_root(path, parent, "");
	return rmdir(path);
}

/* Processes that stay, in a group of their own. */
static pid_t fill_group(unsigned n)
{
	pid_t first = 0;
	char path[PATH_MAX], text[16];

	in_root(path, group, "");
	assert_int_equal(mkdir(path, 0755), 0);
	in_root(path, group, "cgroup.procs");
	while (n--) {
		pid_t pid = fork();

		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody */
			for (;;)
				(void)pause();
		}
		assert_true(pid > 0);
		(void)snprintf(text, sizeof(text), "%d", (int)pid);
		put(path, text);
		first = pid;
	}
	return first;
}

static bool has_group(void)
{
	char path[PATH_MAX];

	in_root(path, group, "");
	return access(path, F_OK) == 0;
}

static void bury(unsigned n)
{
	while (n--)
		assert_true(waitpid(-1, NULL, 0) > 0);
}

static void test_all_of_them_at_once(void **state)
{
	struct err err = { 0 };

	(void)state;
	(void)fill_group(5);
	if (cgroup_destroy(group, PATIENT_MS, &err) < 0)
		fail_msg("%s", err.msg);
	assert_false(has_group());
	assert_int_equal(cgroup_destroy(group, PATIENT_MS, &err), 0); /* nothing is there */
	bury(5);
}

/* In a process that makes a pid namespace and destroys the group from in there. */
static int try_from_elsewhere(bool has_kill_fd)
{
	int kill_fd = cgroup_open_kill(group), status = -1;
	struct err err;
	pid_t pid;

	if (kill_fd < 0 || unshare(CLONE_NEWPID) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		_exit(cgroup_destroy_by(group, has_kill_fd ? kill_fd : -1, has_kill_fd ? PATIENT_MS : HASTY_MS, &err) == 0 ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool can_destroy_from_elsewhere(bool has_kill_fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_from_elsewhere(has_kill_fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	return WEXITSTATUS(status) == 0;
}

/* Who looks from another pid namespace sees members without numbers: one by one they cannot be killed. */
static void test_also_those_of_other_pid_namespaces(void **state)
{
	pid_t victim = fill_group(1);

	(void)state;
	assert_false(can_destroy_from_elsewhere(false)); /* the control */
	assert_int_equal(kill(victim, 0), 0);
	assert_true(can_destroy_from_elsewhere(true));
	assert_false(has_group());
	bury(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_them_at_once),
		cmocka_unit_test(test_also_those_of_other_pid_namespaces),
	};

	if (getuid() != 0) {
		print_message("SKIP: this needs root\n");
		return getenv("MAYFLY_MUST_RUN") ? 1 : 77;
	}
	return cmocka_run_group_tests(tests, enter_v2, leave_v2);
}
