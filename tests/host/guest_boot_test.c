/* The agent in a real microVM, driven over the guest channel as the engine does it. Each test boots a VM of its own. */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "tests/support/guest_vm.h"
#include "tests/unit/unit.h"

#define IMAGE	     "base"
#define MEMORY_MIB   192
#define DISK_MIB     64
#define OUTPUT_LIMIT (16u << 20)
#define KEPT_BYTES   65536 /* of each stream, for a test to look at */
#define TEXT(literal)                                     \
	{                                                 \
		.text = (literal), .len = strlen(literal) \
	}

static struct guest_vm vm;

struct kept {
	char text[KEPT_BYTES];
	size_t len;
	uint64_t total;
};

/* What one program did. */
static struct {
	struct kept streams[2];
	struct frame exit; /* numbers only */
	bool is_started;
	char failure[256];
} result;

/* How one program is run. */
struct plan {
	const char *script;  /* of /bin/sh */
	const char *program; /* instead */
	const char *input;
	uint64_t timeout_ms, output_limit_bytes;
};

static int start(void **state)
{
	(void)state;
	guest_vm_start(&vm, IMAGE, MEMORY_MIB, DISK_MIB);
	guest_vm_setup(&vm);
	return 0;
}

static int end(void **state)
{
	(void)state;
	guest_vm_end(&vm);
	return 0;
}

static void send_run(const struct plan *plan)
{
	struct frame_text shell[] = { TEXT("/bin/sh"), TEXT("-c"), TEXT(plan->script ? plan->script : "") };
	struct frame_text program[] = { TEXT(plan->program ? plan->program : "") };
	struct frame_pair env[] = { { TEXT("GREETING"), TEXT("hello there") } };
	struct frame run = { .type = FRAME_RUN,
			     .argv = plan->program ? program : shell,
			     .n_argv = plan->program ? 1 : 3,
			     .env = env,
			     .n_env = 1,
			     .timeout_ms = plan->timeout_ms ? plan->timeout_ms : 120000,
			     .output_limit_bytes = plan->output_limit_bytes ? plan->output_limit_bytes : OUTPUT_LIMIT,
			     .window = FRAME_WINDOW_BYTES };
	const char *input = plan->input ? plan->input : "";
	size_t left = strlen(input);

	guest_vm_send(&vm, &run);
	do {
		struct frame piece = { .type = FRAME_STDIN,
				       .data = (const uint8_t *)input,
				       .len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX };

		piece.is_last = piece.len == left;
		guest_vm_send(&vm, &piece);
		input += piece.len;
		left -= piece.len;
	} while (left);
}

static void keep(const struct frame *frame)
{
	struct kept *kept = &result.streams[frame->stream - 1];
	size_t room = sizeof(kept->text) - 1 - kept->len, len = frame->len < room ? frame->len : room;

	assert_int_equal(frame->offset, kept->total);
	memcpy(kept->text + kept->len, frame->data, len);
	kept->len += len;
	kept->total += frame->len;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .bytes = frame->len });
}

/* False when it was the last frame of a run. */
static bool take(const struct frame *frame)
{
	switch ((int)frame->type) {
	case FRAME_STARTED:
		result.is_started = true;
		return true;
	case FRAME_OUT:
		keep(frame);
		return true;
	case FRAME_EXIT:
		result.exit = *frame;
		return false;
	case FRAME_FAIL:
		(void)snprintf(result.failure, sizeof(result.failure), "%.*s", (int)frame->error.len,
			       frame->error.text);
		return false;
	default:
		fail_msg("'%s' during a run", frame_type_name(frame->type));
		return false;
	}
}

static void run_plan(struct plan plan)
{
	const struct frame *frame;

	memset(&result, 0, sizeof(result));
	send_run(&plan);
	do {
		frame = guest_vm_next(&vm);
		assert_non_null(frame);
	} while (take(frame));
}

static void run_script(const char *script)
{
	run_plan((struct plan){ .script = script });
}

static void assert_exit(uint32_t code)
{
	assert_string_equal(result.failure, "");
	assert_true(result.is_started);
	assert_true(result.exit.has_exit_code);
	assert_int_equal(result.exit.exit_code, code);
}

static void assert_out(const char *text)
{
	assert_string_equal(result.streams[0].text, text);
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

static void test_confinement(void **state)
{
	(void)state;
	run_script(
		"grep -E '^(Cap|NoNewPrivs|Groups)' /proc/self/status; ls /proc/1/root/modules 2>&1;"
		"ls -d /proc/[0-9]* | wc -l; cat /proc/sys/kernel/hostname; ls /sys 2>&1; ls /dev;"
		"mount -t tmpfs x /mnt 2>/dev/null && echo mounted; kill -9 1; unshare -U true 2>/dev/null && echo userns;"
		"mknod /work/d b 1 1 2>/dev/null && echo node; [ -e /proc/1 ] && echo init; ls -d /proc/self/fd/* | wc -l; echo end");
	assert_exit(0);
	assert_non_null(strstr(result.streams[0].text, "CapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(result.streams[0].text, "CapEff:\t0000000000000000\n"));
	assert_non_null(strstr(result.streams[0].text, "CapBnd:\t0000000000000000\n"));
	assert_non_null(strstr(result.streams[0].text, "NoNewPrivs:\t1\n"));
	assert_null(strstr(result.streams[0].text, "mounted"));
	assert_null(strstr(result.streams[0].text, "userns"));
	assert_null(strstr(result.streams[0].text, "node"));
	assert_null(strstr(result.streams[0].text, "init"));
	assert_null(strstr(result.streams[0].text, "vport"));
	assert_null(strstr(result.streams[0].text, "vda"));
	assert_non_null(strstr(result.streams[0].text, "end\n"));
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

static void test_missing_program(void **state)
{
	(void)state;
	run_plan((struct plan){ .program = "no-such-program" });
	assert_false(result.is_started);
	assert_string_equal(result.failure, "cannot run 'no-such-program': No such file or directory");
}

static void test_program_that_is_none(void **state)
{
	(void)state;
	run_plan((struct plan){ .program = "/etc/passwd" });
	assert_false(result.is_started);
	assert_string_equal(result.failure, "cannot run '/etc/passwd': Permission denied");
}

static void put(const char *path, const char *text, size_t at, size_t len, bool is_last)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT,
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
				   .type = FRAME_COLLECT, .paths = paths, .n_paths = n, .limit_bytes = limit_bytes });
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
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .bytes = total });
	while (take(guest_vm_next(&vm)))
		;
	assert_int_equal(result.streams[0].total, 2000000);
	assert_exit(0);
}

static void test_fork_bomb(void **state)
{
	(void)state;
	run_plan((struct plan){ .script = "bomb() { bomb | bomb & }; bomb; sleep 1000", .timeout_ms = 5000 });
	assert_true(result.exit.is_timed_out);
	run_script("echo alive");
	assert_exit(0);
	assert_out("alive\n");
}

/* The number of processes has an end, whatever memory there is. */
static void test_process_limit(void **state)
{
	(void)state;
	guest_vm_start(&vm, IMAGE, 768, DISK_MIB);
	guest_vm_setup(&vm);
	run_script("i=0; while [ $i -lt 600 ]; do sleep 1000 & i=$((i + 1)); done; echo no end");
	assert_exit(2);
	assert_out("");
	assert_non_null(strstr(result.streams[1].text, "Cannot fork"));
}

static void test_memory_hog(void **state)
{
	(void)state;
	run_script("dd if=/dev/zero of=/dev/null bs=150M count=1; echo code $?");
	assert_string_equal(result.failure, "");
	assert_true(result.exit.is_oom);
	run_script("echo alive");
	assert_exit(0);
	assert_out("alive\n");
	assert_false(result.exit.is_oom);
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
	guest_vm_start(&vm, IMAGE, TASK_MIN_MEMORY_MIB, DISK_MIB);
	guest_vm_setup(&vm);
	run_script("echo small");
	assert_exit(0);
	assert_out("small\n");
}

/* A host that never takes output cannot keep a program alive beyond its time. */
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
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .bytes = total });
	while (take(guest_vm_next(&vm)))
		;
	assert_true(result.exit.is_timed_out);
	assert_in_range(result.exit.run_ms, plan.timeout_ms, waited_ms); /* it was dead before anything was taken */
	assert_int_equal(result.exit.stdout_bytes, result.streams[0].total);
}

#define BOOTED(test) cmocka_unit_test_setup_teardown(test, start, end)

/* main [PATTERN]: only the tests of this name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_echo_and_exit_code),
		BOOTED(test_confinement),
		BOOTED(test_signal),
		BOOTED(test_stdin),
		BOOTED(test_stdin_ignored),
		BOOTED(test_missing_program),
		BOOTED(test_files),
		BOOTED(test_collect_of_what_is_no_file),
		BOOTED(test_collect_has_a_limit),
		BOOTED(test_put_meets_a_link),
		BOOTED(test_timeout),
		BOOTED(test_much_output),
		BOOTED(test_output_beyond_the_limit),
		BOOTED(test_window),
		BOOTED(test_fork_bomb),
		BOOTED(test_memory_hog),
		BOOTED(test_disk_full),
		BOOTED(test_orphans),
		BOOTED(test_a_frame_of_the_wrong_side),
		BOOTED(test_bytes_that_are_no_frame),
		BOOTED(test_a_length_that_cannot_be),
		BOOTED(test_surroundings),
		BOOTED(test_clock_and_entropy),
		BOOTED(test_program_that_is_none),
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
