/* The agent in a real microVM, driven over the guest channel as the engine does it. Each test boots a VM of its own. */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "tests/support/guest_run.h"
#include "tests/unit/unit.h"

#define IMAGE	     "base"
#define MEMORY_MIB   192
#define DISK_MIB     64
#define TEXT(literal)                                     \
	{                                                 \
		.text = (literal), .len = strlen(literal) \
	}

static int start(void **state)
{
	(void)state;
	boot(IMAGE, MEMORY_MIB, DISK_MIB);
	return 0;
}

static int end(void **state)
{
	(void)state;
	guest_vm_end(&vm);
	return 0;
}

/* Who and where a task is: everything that it must have and must not. */
static void test_echo_and_exit_code(void **state)
{
	(void)state;
	run_script("echo $GREETING; echo oops >&2; pwd; echo $HOME; echo $PATH; id -u; id -g; hostname; exit 7");
	assert_exit(7);
	assert_out("hello there\n/work\n/work\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
		   "1000\n1000\nguest-test\n");
	assert_string_equal(result.streams[1].text, "oops\n");
	assert_int_equal(result.exit.stdout_bytes, result.streams[0].total);
	assert_int_equal(result.exit.stderr_bytes, 5);
	assert_false(result.exit.is_timed_out);
	assert_false(result.exit.is_oom);
	assert_true(result.exit.max_rss_kib > 0);
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
static const char *const forbidden[] = { "init is seen",   "mounted",	   "init is killed", "user namespace", "net namespace",
					 "device made",	   "chroot works", "given away",     "priority raised", "log read",
					 "folder of root read",	   "system written", "renamed",	     "order" };

static const char *const common[] = { "kill works", "mknod works", "guest-test", "end" };

static bool says(const char *line)
{
	char whole[160];

	(void)snprintf(whole, sizeof(whole), "\n%s\n", line);
	return strstr(result.streams[0].text, whole) != NULL;
}

static void assert_lines(const char *const *lines, size_t n, bool is_said)
{
	for (size_t i = 0; i < n; i++)
		if (says(lines[i]) != is_said)
			fail_msg("'%s' is %s in: %s%s", lines[i], is_said ? "missing" : "there", result.streams[0].text,
				 result.streams[1].text);
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

/* The control: the same attempts by a program that the agent did not confine, with a descriptor too many, a group, and the
 * kernel's own devices and objects in place. An attempt that fails here, too, would prove nothing above. */
static void test_confinement_can_be_seen(void **state)
{
	(void)state;
	guest_vm_agent = AGENT_WEAK;
	guest_vm_start(&vm, IMAGE, MEMORY_MIB, DISK_MIB);
	guest_vm_agent = AGENT;
	guest_vm_setup(&vm);
	run_plan((struct plan){ .script = "m() { perl -e 'exit !!syscall 165, @ARGV, 0, 0' none $1 $2; }; m /dev devtmpfs && m /sys sysfs &&"
					  "exec 9</dev/null && exec setpriv --groups 7 sh -c \"$1\"",
				.argument = attempts });
	assert_confined(false);
}

static void test_signal(void **state)
{
	(void)state;
	run_script("kill -TERM $$");
	assert_string_equal(result.failure, "");
	assert_false(result.exit.has_exit_code);
	assert_int_equal(result.exit.signal, SIGTERM);
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
	assert_false(result.is_started);
	assert_string_equal(result.failure, failure);
	assert_string_equal(result.missing, missing);
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
	{ "printf '#!/work/b\\n' >a; >b; chmod 755 a", "./a", "its interpreter '/work/b' is not executable (its mode is 0644)", "" },
	{ "printf '#!/etc\\n' >a; chmod 755 a", "./a", "its interpreter '/etc' is a directory", "" },
	{ "printf '\\177ELF\\1\\1\\1' >a; chmod 755 a", "./a",
	  "it is built for another kind of machine, or damaged (this one is x86-64)", "" },
	{ "printf '\\0\\1\\2' >a; chmod 755 a", "./a", "it is neither a program for this machine nor a script", "" },
	{ "sed 's/ld-linux/ld-nolib/' /bin/true >a; chmod 755 a", "./a",
	  "'/lib64/ld-nolib-x86-64.so.2', the loader that './a' was built for, does not exist", "" },
	{ "ln -s /nowhere/jq a", "./a", "it is a link to '/nowhere/jq', which does not exist", "jq" },
	{ "mkfifo a", "./a", "it is no regular file", "" },
	{ "mkdir a; >a/b; chmod 755 a/b; chmod 0 a", "a/b", "a folder on the way to it may not be entered", "" },
	{ ">tool", "tool", "no folder of PATH has a program of that name; the one in /work is called './tool'", "tool" },
};

/* An agent whose step failed hears nothing more: a VM for each. */
static void test_why_it_is_not_run(void **state)
{
	char failure[256];

	for (size_t i = 0; i < ARRAY_SIZE(not_run); i++) {
		(void)start(state);
		if (not_run[i].before)
			run_script(not_run[i].before);
		(void)snprintf(failure, sizeof(failure), "cannot run '%s': %s", not_run[i].program, not_run[i].why);
		run_plan((struct plan){ .program = not_run[i].program });
		(void)end(state);
		if (result.is_started)
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

static void put(const char *path, const char *text, size_t at, size_t len, bool is_last)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT,
					    .exec = exec + 1,
					    .path = TEXT(path),
					    .mode = 0640,
					    .offset = at,
					    .data = (const uint8_t *)text + at,
					    .len = len,
					    .is_last = is_last });
}

static void collect(const char *const *names, size_t n, uint64_t limit_bytes)
{
	struct frame_text paths[8];

	assert_true(n <= ARRAY_SIZE(paths));
	for (size_t i = 0; i < n; i++)
		paths[i] = (struct frame_text)TEXT(names[i]);
	guest_vm_send(&vm, &(struct frame){
				   .type = FRAME_COLLECT, .exec = exec, .paths = paths, .n_paths = n, .limit_bytes = limit_bytes });
}

/* The next file is `path` with this content; or, with content NULL, could not be read. */
static void expect_file(const char *path, const char *content)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_FILE);

	assert_int_equal(frame->path.len, strlen(path));
	assert_memory_equal(frame->path.text, path, frame->path.len);
	assert_true(frame->is_last);
	if (!content) {
		assert_true(frame->error.len > 0);
		assert_int_equal(frame->len, 0);
		return;
	}
	assert_int_equal(frame->error.len, 0);
	assert_int_equal(frame->size, strlen(content));
	assert_int_equal(frame->len, strlen(content));
	assert_memory_equal(frame->data, content, frame->len);
}

static void test_files(void **state)
{
	static const char *const names[] = { "deep/er/in.txt", "out.txt" };

	(void)state;
	put("deep/er/in.txt", "in two pieces\n", 0, 7, false);
	put("deep/er/in.txt", "in two pieces\n", 7, 7, true);
	put("empty", "", 0, 0, true);
	run_script("cat deep/er/in.txt; stat -c '%a %u %s' deep/er/in.txt empty; tr a-z A-Z <deep/er/in.txt >out.txt");
	assert_exit(0);
	assert_out("in two pieces\n640 1000 14\n640 1000 0\n");
	collect(names, ARRAY_SIZE(names), 1000);
	expect_file("deep/er/in.txt", "in two pieces\n");
	expect_file("out.txt", "IN TWO PIECES\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* The links lead to what does exist where the agent lives (its initrd), and to what may be collected by its own name. */
static void test_collect_of_what_is_no_file(void **state)
{
	static const char *const names[] = { "fifo",	"link",	  "through/order", "inner",
					     "missing", "folder", "secret",	   "good" };

	(void)state;
	run_script(
		"mkfifo fifo; ln -s /init link; ln -s /modules through; ln -s good inner; mkdir folder; echo 1 >secret;"
		"chmod 0 secret; echo good >good");
	assert_exit(0);
	collect(names, ARRAY_SIZE(names), 64 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(names) - 1; i++)
		expect_file(names[i], NULL);
	expect_file("good", "good\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* Why it did not come, and what it is nevertheless. */
static void expect_refused(const char *path, const char *error, uint64_t size, uint32_t mode)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_FILE);
	char text[128];

	assert_memory_equal(frame->path.text, path, frame->path.len);
	(void)snprintf(text, sizeof(text), "%.*s", (int)frame->error.len, frame->error.text);
	assert_string_equal(text, error);
	assert_int_equal(frame->size, size);
	assert_int_equal(frame->mode, mode);
	assert_int_equal(frame->len, 0);
}

static void test_collect_says_why_and_what(void **state)
{
	static const char *const names[] = { "big", "folder", "*.txt", "link", "secret", "fifo", "setid" };
	const struct frame *frame;

	(void)state;
	run_script("head -c 5000 /dev/zero >big; chmod 640 big; mkdir -m 751 folder; >a.txt; ln -s big link; echo 123 >secret;"
		   "chmod 0 secret; mkfifo -m 600 fifo; echo 1 >setid; chmod 6755 setid");
	assert_exit(0);
	collect(names, ARRAY_SIZE(names), 4000);
	expect_refused("big", "its 5000 bytes are more than the 4000 that may still be collected", 5000, 0640);
	expect_refused("folder", "it is a folder; collect takes files only: pack it first, with tar for example", 0, 0751);
	expect_refused("*.txt", "no such file; collect knows no patterns: name every file", 0, 0);
	expect_refused("link", "it is a symbolic link, which is not followed", 0, 0777);
	expect_refused("secret", "the task itself may not read it", 4, 0);
	expect_refused("fifo", "not a regular file", 0, 0600);
	frame = guest_vm_expect(&vm, FRAME_FILE);
	assert_int_equal(frame->error.len, 0);
	assert_int_equal(frame->mode, 06755);
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

static void test_collect_has_a_limit(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	(void)state;
	run_script("echo 1234 >a; echo 12345678 >b; echo 1 >c");
	collect(names, ARRAY_SIZE(names), 10);
	expect_file("a", "1234\n");
	expect_file("b", NULL);
	expect_file("c", "1\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* A put must not leave /work through a link that a program left there. */
static void test_put_meets_a_link(void **state)
{
	(void)state;
	run_script("ln -s /modules through; ln -s /tmp/target file");
	assert_exit(0);
	put("file", "new", 0, 3, true); /* a link in the last place is replaced */
	run_script("cat file; [ -L file ] && echo link; ls /tmp");
	assert_exit(0);
	assert_out("new");
	put("through/x", "new", 0, 3, true);
	(void)guest_vm_expect(&vm, FRAME_FAIL);
}

static void test_timeout(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "trap '' TERM INT HUP; (setsid sleep 1000 &) ; echo begun; while :; do sleep 60; done",
				.timeout_ms = 3000 });
	assert_out("begun\n");
	assert_true(result.exit.is_timed_out);
	assert_false(result.exit.has_exit_code);
	assert_int_equal(result.exit.signal, SIGKILL);
	assert_true(result.exit.run_ms >= 3000);
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
	assert_int_equal(result.streams[0].total, 160 * 65536);
	assert_int_equal(result.exit.stdout_bytes, 160 * 65536);
}

static void test_output_beyond_the_limit(void **state)
{
	(void)state;
	run_plan((struct plan){
		.script = "head -c 1000000 /dev/zero; head -c 500000 /dev/zero >&2; echo done >&2; exit 3",
		.output_limit_bytes = 100000 });
	assert_exit(3);
	assert_int_equal(result.streams[0].total + result.streams[1].total, 100000);
	assert_int_equal(result.exit.stdout_bytes, 1000000);
	assert_int_equal(result.exit.stderr_bytes, 500005);
}

/* Without acknowledgements the agent stops at the window; with them it goes on. */
static void test_window(void **state)
{
	const struct plan plan = { .script = "head -c 2000000 /dev/zero" };
	uint64_t total = 0;

	(void)state;
	memset(&result, 0, sizeof(result));
	send_run(&plan);
	(void)guest_vm_expect(&vm, FRAME_STARTED);
	while (total < FRAME_WINDOW_BYTES) {
		const struct frame *frame = guest_vm_expect(&vm, FRAME_OUT);

		result.streams[0].total += frame->len;
		total += frame->len;
	}
	result.is_started = true;
	assert_int_equal(total, FRAME_WINDOW_BYTES);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = exec, .stream = 1, .offset = total });
	while (take(guest_vm_next(&vm)))
		;
	assert_int_equal(result.streams[0].total, 2000000);
	assert_exit(0);
}

static void test_fork_bomb(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "bomb() { bomb | bomb & }; bomb; sleep 1000", .timeout_ms = 5000 });
	assert_true(result.exit.is_timed_out || result.exit.is_oom); /* by the number of processes, or by what they hold */
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
	assert_non_null(strstr(result.streams[1].text, "Cannot fork"));
}

static void test_disk_full(void **state)
{
	(void)state;
	run_script(
		"head -c 200000000 /dev/zero >/work/big; echo code $?; rm /work/big; echo fine >/work/small; cat /work/small");
	assert_exit(0);
	assert_out("code 1\nfine\n");
	assert_non_null(strstr(result.streams[1].text, "No space left"));
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

static void test_a_frame_of_the_wrong_side(void **state)
{
	(void)state;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_HELLO });
	(void)guest_vm_expect(&vm, FRAME_FAIL);
}

static void test_bytes_that_are_no_frame(void **state)
{
	static const uint8_t garbage[] = { 0, 0, 0, 3, 0xc1, 0xc1, 0xc1 };

	(void)state;
	guest_vm_send_bytes(&vm, garbage, sizeof(garbage));
	(void)guest_vm_expect(&vm, FRAME_FAIL);
}

static void test_a_length_that_cannot_be(void **state)
{
	(void)state;
	guest_vm_send_bytes(&vm, "\xff\xff\xff\xff", 4);
	(void)guest_vm_expect(&vm, FRAME_FAIL);
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
	(void)snprintf(first, sizeof(first), "%.63s", result.streams[0].text);
	run_script("date +%s"); /* a day ahead: what the RTC would have said is no answer */
	assert_in_range(strtoll(result.streams[0].text, NULL, 10), before + GUEST_VM_AHEAD_S - 5,
			time(NULL) + GUEST_VM_AHEAD_S + 5);
	(void)end(state);
	(void)start(state);
	run_script("od -An -tx1 -N16 /dev/urandom");
	assert_int_equal(strlen(first), 49);
	assert_string_not_equal(result.streams[0].text, first);
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

/* While a host takes no output, the time is not the program's (its guard ends it then, at the end of its workspace's life); afterwards it
 * has what was left. */
static void test_timeout_without_a_reader(void **state)
{
	const struct plan plan = {
		.script = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
		.timeout_ms = 6000
	};
	uint64_t total = 0, start_ms = clock_mono_ms(), waited_ms;

	(void)state;
	memset(&result, 0, sizeof(result));
	send_run(&plan);
	(void)guest_vm_expect(&vm, FRAME_STARTED);
	while (total < FRAME_WINDOW_BYTES)
		total += guest_vm_expect(&vm, FRAME_OUT)->len;
	sleep(8);
	waited_ms = clock_mono_ms() - start_ms;
	result.streams[0].total = total;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = exec, .stream = 1, .offset = total });
	while (take(guest_vm_next(&vm)))
		;
	assert_true(result.exit.is_timed_out);
	assert_true(result.exit.run_ms > waited_ms); /* it was alive when something was taken */
	assert_int_equal(result.exit.stdout_bytes, result.streams[0].total);
}

#define BOOTED(test) cmocka_unit_test_setup_teardown(test, start, end)

/* main [PATTERN]: only the tests of this name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_echo_and_exit_code),
		BOOTED(test_confinement),
		cmocka_unit_test_teardown(test_confinement_can_be_seen, end),
		BOOTED(test_signal),
		BOOTED(test_stdin),
		BOOTED(test_stdin_ignored),
		BOOTED(test_missing_program),
		BOOTED(test_files),
		BOOTED(test_collect_of_what_is_no_file),
		BOOTED(test_collect_says_why_and_what),
		BOOTED(test_collect_has_a_limit),
		BOOTED(test_put_meets_a_link),
		BOOTED(test_timeout),
		BOOTED(test_much_output),
		BOOTED(test_output_beyond_the_limit),
		BOOTED(test_window),
		BOOTED(test_fork_bomb),
		BOOTED(test_disk_full),
		BOOTED(test_orphans),
		BOOTED(test_a_frame_of_the_wrong_side),
		BOOTED(test_bytes_that_are_no_frame),
		BOOTED(test_a_length_that_cannot_be),
		BOOTED(test_surroundings),
		BOOTED(test_clock_and_entropy),
		cmocka_unit_test_teardown(test_why_it_is_not_run, end),
		BOOTED(test_scripts),
		BOOTED(test_what_an_image_has),
		BOOTED(test_timeout_without_a_reader),
		cmocka_unit_test_teardown(test_least_memory, end),
		cmocka_unit_test_teardown(test_process_limit, end),
	};
	const char *missing = guest_vm_missing(IMAGE);

	if (missing) {
		print_message("skipped: %s\n", missing);
		return getenv("MAYFLY_MUST_RUN") ? 1 : 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, end);
}
