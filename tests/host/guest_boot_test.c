/* What a task finds in a real microVM, and what it cannot reach. Each test boots a VM of its own. */
#include <string.h>
#include <time.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

#define IMAGE	   "base"
#define MEMORY_MIB 192
#define DISK_MIB   64

/* Who and where a task is: everything that it must have and must not. */
static void test_echo_and_exit_code(void **state)
{
	(void)state;
	run_script("echo $GREETING; echo oops >&2; pwd; echo $HOME; echo $PATH; id -u; id -g; hostname; exit 7");
	assert_exit(7);
	assert_out("hello there\n/work\n/work\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
		   "1000\n1000\nguest-test\n");
	assert_string_equal(result->streams[1].text, "oops\n");
	assert_int_equal(result->exit.stdout_bytes, result->streams[0].total);
	assert_int_equal(result->exit.stderr_bytes, 5);
	assert_false(result->exit.is_timed_out);
	assert_false(result->exit.is_oom);
	assert_true(result->exit.max_rss_kib > 0);
}

/* What a task may not do, one attempt a line, and two that it may, so that their programs are seen to work. */
static const char attempts[] =
	"echo\n"
	"exec 2>/dev/null\n"
	"grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs|Groups|Uid):' /proc/self/status\n"
	"set -- /proc/[0-9]*; echo processes $#; [ -e /proc/1 ] && echo init is seen\n"
	"set -- $(ls -A /sys); echo sys $#\n"
	"set -- $(ls /proc/self/fd); echo descriptors $#\n"
	"echo devices $(ls /dev)\n"
	"ls /proc/1/root/modules\n"
	"perl -e 'exit !!syscall 165, @ARGV, 0, 0' none /mnt tmpfs && echo mounted\n" /* mount(2): mount(8) is not there */
	"kill -9 1 && echo init is killed; kill -0 $$ && echo kill works\n"
	"unshare -U true && echo user namespace; unshare -n true && echo net namespace\n"
	"mknod node b 1 1 && echo device made; mknod pipe p && echo mknod works\n"
	"chroot / true && echo chroot works\n"
	"touch file; chown 0:7 file && echo given away\n"
	"nice -n -5 true 2>&1 | grep -q denied || echo priority raised\n"
	"dmesg >/dev/null && echo log read\n"
	"ls /root >/dev/null && echo folder of root read\n"
	"touch /usr/bin/new && echo system written\n"
	"hostname; hostname other && echo renamed\n"
	"echo end\n";

/* Exactly these lines a task gets, and the unconfined program of the control none of them. */
static const char *const confined[] = { "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
					"CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
					"Groups:\t ",		     "Uid:\t1000\t1000\t1000\t1000",
					"processes 1",		     "sys 0",
					"descriptors 4", /* three, and the folder that ls(1) reads */
					"devices fd full null ptmx pts random shm stderr stdin stdout tty urandom zero" };

/* Of these a task gets none, and the control all. */
static const char *const forbidden[] = { "init is seen",   "mounted",	   "init is killed", "user namespace",
					 "net namespace",
					 "device made",	   "chroot works", "given away",     "priority raised",
						"log read",
					 "folder of root read",	   "system written", "renamed",	     "order" };

static const char *const common[] = { "kill works", "mknod works", "guest-test", "end" };

static bool says(const char *line)
{
	char whole[160];

	(void)snprintf(whole, sizeof(whole), "\n%s\n", line);
	return strstr(result->streams[0].text, whole) != NULL;
}

static void assert_lines(const char *const *lines, size_t n, bool is_said)
{
	for (size_t i = 0; i < n; i++)
		if (says(lines[i]) != is_said)
			fail_msg("'%s' is %s in: %s%s", lines[i], is_said ? "missing" : "there",
				 result->streams[0].text,
				 result->streams[1].text);
}

static void assert_confined(bool is_confined)
{
	assert_exit(0);
	assert_lines(confined, ARRAY_SIZE(confined), is_confined);
	assert_lines(forbidden, ARRAY_SIZE(forbidden), !is_confined);
	assert_lines(common, ARRAY_SIZE(common), true);
}

static void test_confinement(void **state)
{
	(void)state;
	run_script(attempts);
	assert_confined(true);
}

/* The control: the same attempts by a program that the agent did not confine, with a descriptor too many, a group,
 * and the kernel's own devices and objects in place. An attempt that fails here, too, would prove nothing above. */
static void test_confinement_can_be_seen(void **state)
{
	(void)state;
	guest_vm_agent = AGENT_WEAK;
	guest_vm_start(&vm, IMAGE, MEMORY_MIB, DISK_MIB);
	guest_vm_agent = AGENT;
	guest_vm_setup(&vm);
	exec = 0;
	run_plan((struct plan){ .script = "m() { perl -e 'exit !!syscall 165, @ARGV, 0, 0' none $1 $2; }; m /dev devtmpfs && m /sys sysfs &&"
					  "exec 9</dev/null && exec setpriv --groups 7 sh -c \"$1\"",
				.argument = attempts });
	assert_confined(false);
}

static void test_fork_bomb(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "bomb() { bomb | bomb & }; bomb; sleep 1000", .timeout_ms = 5000 });
	/* by the number of processes, or by what they hold */
	assert_true(result->exit.is_timed_out || result->exit.is_oom);
	run_script("echo alive");
	assert_exit(0);
	assert_out("alive\n");
}

/* The number of processes has an end, whatever memory there is. */
static void test_process_limit(void **state)
{
	(void)state;
	boot(IMAGE, 768, DISK_MIB);
	run_script("i=0; while [ $i -lt 600 ]; do sleep 1000 & i=$((i + 1)); done; echo no end");
	assert_exit(2);
	assert_out("");
	assert_non_null(strstr(result->streams[1].text, "Cannot fork"));
}

static void test_disk_full(void **state)
{
	(void)state;
	run_script(
		"head -c 200000000 /dev/zero >/work/big; echo code $?; rm /work/big; echo fine >/work/small; cat /work/small");
	assert_exit(0);
	assert_out("code 1\nfine\n");
	assert_non_null(strstr(result->streams[1].text, "No space left"));
}

/* Temporary places are there, the system is not writable, loopback is the only interface. */
static void test_surroundings(void **state)
{
	(void)state;
	run_script("head -c 20 /dev/urandom | wc -c; touch /usr/bin/new 2>/dev/null && echo writable;"
		   "touch /tmp/x && echo tmp; : >/dev/shm/x && echo shm; : >/work/x && echo work;"
		   "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev");
	assert_exit(0);
	assert_out("20\ntmp\nshm\nwork\nlo\n");
}

/* What a person expects of the image, each by a use of it. */
static void test_what_an_image_has(void **state)
{
	(void)state;
	run_script("TZ=Europe/Berlin date -d @1700000000 +%R%Z; getent hosts $(hostname); "
		   "perl -e 'print join(\".\", unpack \"C4\", scalar gethostbyname shift), \"\\n\"' $(hostname);"
		   "ps -o comm= -p $$; echo text | less; file -b --mime-type /bin/dash; find /etc -name hosts;"
		   "for c in xz bzip2 zstd gzip; do echo $c | $c -c | $c -dc; done;"
		   "zip -q a.zip /etc/hosts && unzip -l a.zip | tail -n 1 | awk '{ print $2 }';"
		   "echo '{\"a\": [1, 2]}' | jq -c .a; echo '2^70' | bc; printf 'caf\\351' | iconv -f latin1 -t utf-8; echo");
	assert_exit(0);
	assert_out("23:13CET\n::1             guest-test\n127.0.0.1\nsh\ntext\n"
		   "application/x-pie-executable\n/etc/hosts\nxz\nbzip2\nzstd\ngzip\n1\n[1,2]\n1180591620717411303424\ncaf\xc3\xa9\n");
}

/* The clock is the host's, and two VMs do not draw the same random numbers. */
static void test_clock_and_entropy(void **state)
{
	char first[64];
	time_t before = time(NULL);

	(void)state;
	run_script("od -An -tx1 -N16 /dev/urandom");
	(void)snprintf(first, sizeof(first), "%.63s", result->streams[0].text);
	run_script("date +%s"); /* a day ahead: what the RTC would have said is no answer */
	assert_in_range(strtoll(result->streams[0].text, NULL, 10), before + GUEST_VM_AHEAD_S - 5,
			time(NULL) + GUEST_VM_AHEAD_S + 5);
	(void)end_after_test(state);
	(void)boot_for_test(state);
	run_script("od -An -tx1 -N16 /dev/urandom");
	assert_int_equal(strlen(first), 49);
	assert_string_not_equal(result->streams[0].text, first);
}

/* The least that a task may ask for (wire/task.h) is enough to start and to run something. */
static void test_least_memory(void **state)
{
	(void)state;
	boot(IMAGE, TASK_MIN_MEMORY_MIB, DISK_MIB);
	run_script("echo small");
	assert_exit(0);
	assert_out("small\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_echo_and_exit_code),
		BOOTED(test_confinement),
		cmocka_unit_test_teardown(test_confinement_can_be_seen, end_after_test),
		BOOTED(test_fork_bomb),
		BOOTED(test_disk_full),
		BOOTED(test_surroundings),
		BOOTED(test_clock_and_entropy),
		BOOTED(test_what_an_image_has),
		cmocka_unit_test_teardown(test_least_memory, end_after_test),
		cmocka_unit_test_teardown(test_process_limit, end_after_test),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), MEMORY_MIB, DISK_MIB, argc, argv);
}
