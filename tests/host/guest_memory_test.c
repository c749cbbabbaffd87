/* What a program that has no memory left is told, in real microVMs: the end comes in seconds however small the pieces
 * were, and only to those who have none left. */
#include <signal.h>
#include <string.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

#define MEMORY_MIB 256
#define DISK_MIB   128

static void test_memory_hog(void **state)
{
	(void)state;
	run_script("dd if=/dev/zero of=/dev/null bs=200M count=1; echo code $?");
	assert_string_equal(result->failure, "");
	assert_true(result->exit.is_oom);
	assert_string_equal(result->oom_process, "dd");
	run_script("echo alive");
	assert_exit(0);
	assert_out("alive\n");
	assert_false(result->exit.is_oom);
	assert_int_equal(result->exit.oom_kills, 0);
}

/* What ends in a kill for memory, not in a time limit: it grows by small pieces, and its own code is what gives way. */
static void assert_ends_for_memory(const char *script, const char *process)
{
	run_plan((struct plan){ .script = script, .timeout_ms = 90000 });
	if (!result->exit.is_oom || result->exit.is_timed_out)
		fail_msg("%s: oom %d, timed out %d, signal %u after %llu ms", script, result->exit.is_oom,
			 result->exit.is_timed_out,
			 result->exit.signal, (unsigned long long)result->exit.run_ms);
	assert_int_equal(result->exit.signal, SIGKILL);
	assert_true(result->exit.oom_kills > 0);
	assert_true(result->exit.oom_pid > 1);
	if (process)
		assert_string_equal(result->oom_process, process);
	assert_in_range(result->exit.memory_kib, 150 * 1024, 200 * 1024);
}

static void test_out_of_memory_in_small_steps(void **state)
{
	(void)state;
	assert_ends_for_memory("exec perl -e 'push @a, \"x\" x 100 while 1'", "perl");
	assert_ends_for_memory("exec awk 'BEGIN { while (1) a[i++] = \"abcdefghijklmnopqrstuvwxyz\" i }'", NULL);
	assert_ends_for_memory("exec bash -c 's=$(printf %04000d 1); while :; do a[i++]=$s$i; done'", "bash");
	assert_ends_for_memory("exec perl -e 'no warnings; sub f { my @x = (1 .. 10); f(@x) } f()'", "perl");
	assert_ends_for_memory("for i in 1 2 3 4; do perl -e 'push @a, \"x\" x 100 while 1' & done; wait; echo no",
			       "perl");
	assert_out("");
	/* Many stand in the kernel instead of reading their code again, so that it finds nothing left to free, and
	 * kills. */
	assert_ends_for_memory("for i in $(seq 40); do perl -e '$s = \"x\" x 2800000; push @a, \"x\" x 100 while 1' & done;"
			       "wait; echo no",
			       "perl");
	assert_out("");
	/* The last one: what it leaves in /dev/shm is missing to the next. */
	assert_ends_for_memory("perl -e 'open F, \">/dev/shm/x\"; syswrite F, \"x\" x 4096 for 1 .. 30000;"
			       "push @a, \"x\" x 100 while 1'; echo no",
			       "perl");
	assert_out("");
}

/* A child of the program: the choice is the task's. */
static void test_out_of_memory_of_one_process(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "perl -e 'push @a, \"x\" x 100 while 1'; echo child $?; perl -e '$x = \"x\" x 2e8'; echo $?",
				.timeout_ms = 90000,
				.oom_ends_one = true });
	assert_exit(0);
	assert_out("child 137\n137\n");
	assert_false(result->exit.is_oom);
	assert_int_equal(result->exit.oom_kills, 2);
	assert_string_equal(result->oom_process, "perl");
	run_plan((struct plan){ .script = "exec perl -e 'push @a, \"x\" x 100 while 1'", .timeout_ms = 90000,
				.oom_ends_one = true });
	assert_true(result->exit.is_oom);
	assert_int_equal(result->exit.signal, SIGKILL);
}

/* Two programs at once, of which one takes all there is, at a blow or in small steps: it ends, and the other has not
 * noticed. */
static void expect_only_the_hog_ends(const char *hog)
{
	const struct plan calm = { .script = "echo calm; read x; echo $x", .has_more_input = true };
	const struct plan hungry = { .script = hog, .timeout_ms = 90000 };
	uint32_t calm_id = send_run(&calm), hungry_id;

	await_output(calm_id, "calm\n");
	hungry_id = send_run(&hungry);
	finish(hungry_id);
	assert_true(result->exit.is_oom);
	assert_int_equal(result->exit.signal, SIGKILL);
	assert_string_equal(result->oom_process, "perl");
	assert_in_range(result->exit.memory_kib, 150 * 1024, 200 * 1024);
	send_input(calm_id, "still here\n", true);
	finish(calm_id);
	result = result_of(calm_id);
	assert_string_equal(result->failure, "");
	assert_true(result->exit.has_exit_code);
	assert_out("calm\nstill here\n");
	assert_int_equal(result->exit.oom_kills, 0);
}

static void test_out_of_memory_beside_another(void **state)
{
	(void)state;
	expect_only_the_hog_ends("exec perl -e '$x = \"x\" x 2e8'");
	expect_only_the_hog_ends("exec perl -e 'push @a, \"x\" x 100 while 1'");
}

/* The control of the above: what uses all of the memory, or nearly, and goes on working, is let alone. Between 161
 * and 168 MiB of holding the program has less left than its own code needs, and dies of it; where that begins is not
 * what is tested. */
static void test_hungry_but_honest(void **state)
{
	static const char hold[] = "cat >hold <<'X'\n"
				   "$| = 1; push @a, 'x' x 4050 for 1 .. 256 * shift; sleep shift;\n"
				   "for my $r (1 .. shift) { for (@a) { $s += length } } print \"held\\n\";\n"
				   "X\n";
	static const char *const honest[] = {
		"perl hold 150 0 60; perl hold 158 4 10; perl hold 160 0 1",
		"perl hold 156 40 0 & sleep 6; for i in 1 2 3 4 5 6 7 8 9 10; do ls -l / | grep -c usr; done | tail -n 1; kill $!",
		"head -c 60000000 /dev/zero >big; perl hold 158 60 0 & sleep 6; cat big big big big | wc -c; kill $!",
		"head -c 100000000 /dev/zero >big; cat big big big | wc -c; tar cf - /usr/share /etc 2>/dev/null | wc -c >/dev/null",
		"seq 1 400000 | sort -r -S 100M | tail -n 1; head -c 20000000 /dev/zero | tr '\\0' x",
	};

	(void)state;
	run_script(hold);
	assert_exit(0);
	for (size_t i = 0; i < ARRAY_SIZE(honest); i++) {
		run_script(honest[i]);
		if (result->exit.oom_kills || !result->exit.has_exit_code)
			fail_msg("%s: killed after %llu ms", honest[i], (unsigned long long)result->exit.run_ms);
		assert_false(result->exit.is_oom);
		run_script("rm -f big");
	}
}

static void test_python_out_of_memory(void **state)
{
	(void)state;
	boot("python", MEMORY_MIB, DISK_MIB);
	assert_ends_for_memory("exec python3 -c 'd = {}\ni = 0\nwhile 1: d[i] = str(i); i += 1'", "python3");
	run_script("exec python3 -c 'b = [bytearray(b\"x\" * 65536) for i in range(16 * 140)]\n"
		   "for r in range(30):\n for x in b: x[0] = r; x[5000] = r\nprint(len(b))'");
	assert_exit(0);
	assert_out("2240\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_memory_hog),
		BOOTED(test_out_of_memory_in_small_steps),
		BOOTED(test_out_of_memory_of_one_process),
		BOOTED(test_out_of_memory_beside_another),
		BOOTED(test_hungry_but_honest),
		cmocka_unit_test_teardown(test_python_out_of_memory, end_after_test),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), MEMORY_MIB, DISK_MIB, argc, argv);
}
