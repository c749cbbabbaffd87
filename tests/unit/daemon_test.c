/* Processes of the private stack: started, found, ended; and above all never taken for another process with their pid. */
#include "tools/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define END_MS 20000

static char state_dir[] = "/tmp/mayfly-daemon.XXXXXX";
static const struct daemon sleeper = { .name = "sleeper", .state_dir = state_dir };

static void start(const char *const argv[])
{
	struct err err;

	assert_int_equal(daemon_start(&sleeper, argv, state_dir, &err), 0);
}

static void write_pid_file(pid_t pid, unsigned long long start_ticks)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/run/sleeper.pid", state_dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fprintf(file, "%d %llu\n", pid, start_ticks) > 0);
	assert_int_equal(fclose(file), 0);
}

static void test_start_find_end(void **state)
{
	static const char *const argv[] = { "sleep", "600", NULL };
	pid_t pid;

	(void)state;
	start(argv);
	pid = daemon_find(&sleeper, NULL);
	assert_true(pid > 1);
	assert_int_equal(getsid(pid), pid);
	assert_true(daemon_end(&sleeper, SIGTERM, END_MS, NULL, NULL));
	assert_int_equal(daemon_find(&sleeper, NULL), 0);
	assert_true(daemon_end(&sleeper, SIGTERM, END_MS, NULL, NULL)); /* there is none: fine */
	assert_int_equal(daemon_age_ms(&sleeper), 0);
}

static void test_one_that_does_not_want_to_end(void **state)
{
	static const char *const argv[] = { "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done", NULL };
	char log[PATH_MAX], line[16] = "";

	(void)state;
	start(argv);
	daemon_log_path(&sleeper, log);
	while (strcmp(line, "ready\n") != 0) { /* the trap is set */
		FILE *file = fopen(log, "r");

		if (file && !fgets(line, sizeof(line), file))
			line[0] = '\0';
		if (file)
			assert_int_equal(fclose(file), 0);
		(void)usleep(10000);
	}
	assert_false(daemon_end(&sleeper, SIGTERM, 300, NULL, NULL));
	assert_true(daemon_find(&sleeper, NULL) > 1);
	assert_true(daemon_end(&sleeper, SIGKILL, END_MS, NULL, NULL));
}

/* A pid file of a process that is gone, whose pid now belongs to somebody else: ourselves. */
static void test_a_recycled_pid_is_nobody(void **state)
{
	(void)state;
	write_pid_file(getpid(), 1);
	assert_int_equal(daemon_find(&sleeper, NULL), 0);
	assert_true(daemon_end(&sleeper, SIGKILL, END_MS, NULL, NULL)); /* and we live on to see it */
	write_pid_file(getpid(), 0);
	assert_int_equal(daemon_find(&sleeper, NULL), 0);
	write_pid_file(1, 0);
	assert_int_equal(daemon_find(&sleeper, NULL), 0);
	write_pid_file(-1, 5);
	assert_int_equal(daemon_find(&sleeper, NULL), 0);
}

static void test_no_program(void **state)
{
	static const char *const argv[] = { "/no/such/program", NULL };
	struct err err;

	(void)state;
	assert_true(daemon_start(&sleeper, argv, state_dir, &err) < 0);
	assert_non_null(strstr(err.msg, "/no/such/program"));
}

static int set_up(void **state)
{
	char path[64];

	(void)state;
	if (!mkdtemp(state_dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/run", state_dir);
	if (mkdir(path, 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/log", state_dir);
	return mkdir(path, 0755);
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", state_dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_start_find_end),
					    cmocka_unit_test(test_one_that_does_not_want_to_end),
					    cmocka_unit_test(test_a_recycled_pid_is_nobody),
					    cmocka_unit_test(test_no_program) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
