/* Programs in a real microVM, one after the other: their input, output, time and end. */
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "tests/support/guest_run.h"

static void test_signal(void **state)
{
	(void)state;
	run_script("kill -TERM $$");
	assert_string_equal(result->failure, "");
	assert_false(result->exit.has_exit_code);
	assert_int_equal(result->exit.signal, SIGTERM);
}

/* More than a pipe holds. */
static const char *much_input(void)
{
	static char input[300001];

	memset(input, 'x', sizeof(input) - 1);
	return input;
}

static void test_stdin(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "sleep 1; wc -c", .input = much_input() });
	assert_exit(0);
	assert_out("300000\n");
}

/* A program that never reads its input, and one that closes it. */
static void test_stdin_ignored(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "exec <&-; sleep 1; echo fine", .input = much_input() });
	assert_exit(0);
	assert_out("fine\n");
}

static void assert_not_run(const char *failure, const char *missing)
{
	assert_false(result->is_started);
	assert_string_equal(result->failure, failure);
	assert_string_equal(result->missing, missing);
}

static void test_missing_program(void **state)
{
	(void)state;
	run_plan((struct plan){ .program = "no-such-program" });
	assert_not_run("cannot run 'no-such-program': no folder of PATH has a program of that name", "no-such-program");
}

/* Each of these is one sentence that names the thing that is wrong, where the kernel has one number for several. */
static const struct {
	const char *before; /* a script that makes the program */
	const char *program, *why, *missing;
} not_run[] = {
	{ NULL, "/no/such", "there is no such file", "such" },
	{ NULL, "/etc/passwd", "it is not executable (its mode is 0644)", "" },
	{ NULL, "/usr", "it is a directory", "" },
	{ NULL, "/etc/passwd/x", "a part of its path is no directory", "" },
	{ "printf '#!/bin/sh\\r\\necho hi\\r\\n' >a; chmod 755 a", "./a",
	  "its first line, '#!/bin/sh', ends in a carriage return (Windows line ends), which belongs to no program's name; "
	  "save it with LF line ends", "" },
	{ "printf '#! /usr/bin/python9 -u\\n' >a; chmod 755 a", "./a",
	  "'/usr/bin/python9', which './a' names as its interpreter, does not exist", "python9" },
	{ "printf '#!/work/b\\n' >a; printf '#!/none\\n' >b; chmod 755 a b", "./a",
	  "'/none', which '/work/b' names as its interpreter, does not exist", "none" },
	{ "printf '#!/work/b\\n' >a; >b; chmod 755 a", "./a",
	  "its interpreter '/work/b' is not executable (its mode is 0644)", "" },
	{ "printf '#!/etc\\n' >a; chmod 755 a", "./a", "its interpreter '/etc' is a directory", "" },
	{ "printf '\\177ELF\\1\\1\\1' >a; chmod 755 a", "./a",
	  "it is built for another kind of machine, or damaged (this one is x86-64)", "" },
	{ "printf '\\0\\1\\2' >a; chmod 755 a", "./a", "it is neither a program for this machine nor a script", "" },
	{ "sed 's/ld-linux/ld-nolib/' /bin/true >a; chmod 755 a", "./a",
	  "'/lib64/ld-nolib-x86-64.so.2', the loader that './a' was built for, does not exist", "" },
	{ "ln -s /nowhere/jq a", "./a", "it is a link to '/nowhere/jq', which does not exist", "jq" },
	{ "mkfifo a", "./a", "it is no regular file", "" },
	{ "mkdir a; >a/b; chmod 755 a/b; chmod 0 a", "a/b", "a folder on the way to it may not be entered", "" },
	{ ">tool", "tool", "no folder of PATH has a program of that name; the one in /work is called './tool'",
	  "tool" },
};

static void test_why_it_is_not_run(void **state)
{
	char failure[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(not_run); i++) {
		run_plan((struct plan){ .script = "chmod -R u+rwx .; rm -rf ./*; eval \"$1\"",
					.argument = not_run[i].before });
		assert_exit(0);
		(void)snprintf(failure, sizeof(failure), "cannot run '%s': %s", not_run[i].program, not_run[i].why);
		run_plan((struct plan){ .program = not_run[i].program });
		if (result->is_started)
			fail_msg("it ran, where '%s' was due", failure);
		assert_not_run(failure, not_run[i].missing);
	}
}

/* What a shell would run, runs: text without "#!" is a script, and so is one with arguments in its first line. */
static void test_scripts(void **state)
{
	(void)state;
	run_script("echo 'echo plain $0 $1' >a; chmod 755 a; printf '#!/bin/sh -e\\necho named; false; echo no\\n' >b; chmod 755 b");
	assert_exit(0);
	run_plan((struct plan){ .program = "./a" });
	assert_exit(0);
	assert_out("plain ./a\n");
	run_plan((struct plan){ .program = "./b" });
	assert_exit(1);
	assert_out("named\n");
}

static void test_timeout(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "trap '' TERM INT HUP; (setsid sleep 1000 &) ; echo begun; while :; do sleep 60; done",
				.timeout_ms = 3000 });
	assert_out("begun\n");
	assert_true(result->exit.is_timed_out);
	assert_false(result->exit.has_exit_code);
	assert_int_equal(result->exit.signal, SIGKILL);
	assert_true(result->exit.run_ms >= 3000);
	run_script(
		"grep -l sleep /proc/[0-9]*/comm; echo end"); /* the one that fled into a session of its own is gone too */
	assert_exit(0);
	assert_out("end\n");
}

static void test_much_output(void **state)
{
	(void)state;
	run_script("dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' x");
	assert_exit(0);
	assert_int_equal(result->streams[0].total, 160 * 65536);
	assert_int_equal(result->exit.stdout_bytes, 160 * 65536);
}

static void test_output_beyond_the_limit(void **state)
{
	(void)state;
	run_plan((struct plan){
		.script = "head -c 1000000 /dev/zero; head -c 500000 /dev/zero >&2; echo done >&2; exit 3",
		.output_limit_bytes = 100000 });
	assert_exit(3);
	assert_int_equal(result->streams[0].total + result->streams[1].total, 100000);
	assert_int_equal(result->exit.stdout_bytes, 1000000);
	assert_int_equal(result->exit.stderr_bytes, 500005);
}

/* A program that writes without end, and is not acknowledged. */
static void fill_window(const struct plan *plan)
{
	(void)send_run(plan);
	while (result->streams[0].total < FRAME_WINDOW_BYTES)
		take(guest_vm_next(&vm));
}

static void acknowledge(void)
{
	result->is_unacknowledged = false;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = exec, .stream = 1,
					    .offset = result->streams[0].total });
}

/* Without acknowledgements the agent stops at the window; with them it goes on. */
static void test_window(void **state)
{
	const struct plan plan = { .script = "head -c 2000000 /dev/zero", .is_unacknowledged = true };

	(void)state;
	fill_window(&plan);
	assert_int_equal(result->streams[0].total, FRAME_WINDOW_BYTES);
	acknowledge();
	finish(exec);
	assert_int_equal(result->streams[0].total, 2000000);
	assert_exit(0);
}

/* Daemons of the task do not outlive it, hold its output open for ever or keep `exit` from coming. */
static void test_orphans(void **state)
{
	(void)state;
	run_script("for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & done; echo gone");
	assert_exit(0);
	assert_out("gone\n");
	run_script("grep -l sleep /proc/[0-9]*/comm; echo end");
	assert_exit(0);
	assert_out("end\n");
}

/* While a host takes no output, the time is not the program's (its guard ends it then, at the end of its workspace's
 * life); afterwards it has what was left. */
static void test_timeout_without_a_reader(void **state)
{
	const struct plan plan = {
		.script = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
		.timeout_ms = 6000,
		.is_unacknowledged = true
	};
	uint64_t start_ms = clock_mono_ms(), waited_ms;

	(void)state;
	fill_window(&plan);
	sleep(8);
	waited_ms = clock_mono_ms() - start_ms;
	acknowledge();
	finish(exec);
	assert_true(result->exit.is_timed_out);
	assert_true(result->exit.run_ms > waited_ms); /* it was alive when something was taken */
	assert_int_equal(result->exit.stdout_bytes, result->streams[0].total);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_signal),
		BOOTED(test_stdin),
		BOOTED(test_stdin_ignored),
		BOOTED(test_missing_program),
		BOOTED(test_why_it_is_not_run),
		BOOTED(test_scripts),
		BOOTED(test_timeout),
		BOOTED(test_much_output),
		BOOTED(test_output_beyond_the_limit),
		BOOTED(test_window),
		BOOTED(test_orphans),
		BOOTED(test_timeout_without_a_reader),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), 192, 64, argc, argv);
}
