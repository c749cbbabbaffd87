/* Another engine in front of a real microVM: its programs went on, and nothing that they said is lost or said twice.
 * QEMU is given another socket for its port, as it would be after a snapshot or by an engine that took a workspace
 * over. */
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

#define LINES "seq 0 19999 | sed \"s/$/ of $1/\"; read word; echo $word >&2; exit 3"

/* What LINES writes. */
static const char *lines_of(const char *name)
{
	static char text[20000 * 24];
	size_t len = 0;

	for (int i = 0; i < 20000; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%d of %s\n", i, name);
	return text;
}

static void take_output(uint32_t id, size_t len)
{
	while (result_of(id)->streams[0].total < len && !result_of(id)->is_over)
		take(guest_vm_next(&vm));
}

static struct frame expect_status(uint32_t id)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_STATUS);

	assert_int_equal(frame->exec, id);
	return *frame;
}

static void resume(uint32_t id, uint64_t stdout_bytes, uint64_t stderr_bytes)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_RESUME, .exec = id, .stdout_bytes = stdout_bytes,
					    .stderr_bytes = stderr_bytes });
}

static void expect_hello(uint32_t n_execs)
{
	const struct frame *hello = guest_vm_attach(&vm);

	assert_int_equal(hello->version, FRAME_VERSION);
	assert_true(hello->is_set_up && hello->is_mounted);
	assert_int_equal(hello->n_execs, n_execs);
}

static uint32_t begin(const char *script, const char *argument)
{
	const struct plan plan = { .script = script, .argument = argument, .has_more_input = true };

	return send_run(&plan);
}

/* Half a frame, as of an engine that is killed while it writes. */
static void send_half(const struct frame *frame)
{
	struct buf buf = { 0 };

	assert_int_equal(frame_encode(frame, &buf), 0);
	guest_vm_send_bytes(&vm, buf.data, buf.len / 2);
	buf_free(&buf);
}

/* The engine before has gone; nobody is there for a while. */
static void be_away(void)
{
	guest_vm_hang_up(&vm);
	sleep(3);
	guest_vm_connect_again(&vm);
}

/* How one engine follows the other: seen by the agent, or not at all, or with much on its way from here, and from
 * there. */
static void be_replaced(void)
{
	guest_vm_connect_again(&vm);
}

static void be_replaced_in_a_frame(void)
{
	static const uint8_t sync_like[FRAME_DATA_MAX] = { [0 ... FRAME_DATA_MAX - 1] = FRAME_SYNC };

	send_half(&(struct frame){ .type = FRAME_PUT, .exec = exec + 1, .path = TEXT("x"), .data = sync_like,
				   .len = sizeof(sync_like) });
	sleep(1); /* it arrives */
	guest_vm_connect_again(&vm);
}

/* Two that run, one whose end nobody heard, one that fails unheard, and one that nobody wants any more. */
static void change_engines(void (*change)(void))
{
	uint32_t first, ended, unwanted, silent;
	struct frame status;

	first = begin(LINES, "first");
	result->expected = lines_of("first");
	take_output(first, 50000);
	result->is_unacknowledged = true;
	ended = begin("echo short; read x; echo $x; exit 5", NULL);
	await_output(ended, "short\n");
	unwanted = begin("sleep 1000", NULL);
	await_start(unwanted);
	silent = begin("echo silent; read x; exit 7", NULL);
	await_output(silent, "silent\n");
	send_input(ended, "go\n", true);
	take_output(first, 100000); /* in which `ended` may end, unheard or heard */
	change();
	expect_hello(4);
	status = expect_status(first);
	assert_true(status.is_running && status.is_started);
	assert_in_range(status.stdout_bytes, 1, result_of(first)->streams[0].total);
	status = expect_status(ended);
	assert_int_equal(status.stdin_bytes, 3);
	(void)expect_status(unwanted);
	(void)expect_status(silent);
	result_of(ended)->is_over = false;
	result_of(first)->is_unacknowledged = false;
	resume(first, result_of(first)->streams[0].total, 0);
	resume(ended, result_of(ended)->streams[0].total, 0);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_END, .exec = unwanted });
	take_output(first, strlen(lines_of("first")));
	send_input(first, "word\n", true);
	finish(first);
	assert_string_equal(result_of(first)->streams[1].text, "word\n");
	assert_int_equal(result_of(first)->exit.exit_code, 3);
	assert_int_equal(result_of(first)->streams[0].total, strlen(lines_of("first")));
	assert_int_equal(result_of(first)->exit.stdout_bytes, strlen(lines_of("first")));
	finish(ended);
	assert_int_equal(result_of(ended)->exit.exit_code, 5);
	assert_string_equal(result_of(ended)->streams[0].text, "short\ngo\n");
	resume(silent, result_of(silent)->streams[0].total, 0);
	send_input(silent, "x\n", true);
	finish(silent);
	assert_int_equal(result_of(silent)->exit.exit_code, 7);
	run_script("grep -l sleep /proc/[0-9]*/comm; echo end");
	assert_exit(0);
	assert_out("end\n");
}

static void test_an_engine_that_goes_and_one_that_comes(void **state)
{
	(void)state;
	change_engines(be_away);
}

static void test_an_engine_in_place_of_another(void **state)
{
	(void)state;
	change_engines(be_replaced);
}

static void test_an_engine_that_broke_off(void **state)
{
	(void)state;
	change_engines(be_replaced_in_a_frame);
}

/* The agent's own half frames: an engine that reads nothing, so that everything on the way is full. */
static void test_an_engine_that_did_not_read(void **state)
{
	uint32_t ids[3], wrong, early;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = begin(LINES, "any");
	wrong = begin("sleep 1000", NULL);
	early = begin("sleep 1000", NULL);
	sleep(5);
	be_replaced();
	expect_hello(ARRAY_SIZE(ids) + 2);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(expect_status(ids[i]).stdout_bytes, 0);
	(void)expect_status(wrong);
	(void)expect_status(early);
	resume(wrong, 5, 0); /* which it never said */
	finish(wrong);
	assert_string_equal(result_of(wrong)->failure, "its output cannot be resumed from where the engine wants it");
	send_input(early, "x", true);
	finish(early);
	assert_string_equal(result_of(early)->failure, "a 'stdin' frame came before 'resume'");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		result_of(ids[i])->expected = lines_of("any");
		resume(ids[i], 0, 0);
		take_output(ids[i], strlen(lines_of("any")));
		send_input(ids[i], "word\n", true);
		finish(ids[i]);
		assert_int_equal(result_of(ids[i])->exit.exit_code, 3);
	}
}

static void expect_guest_fails(const char *failure)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_FAIL);
	char text[256];

	assert_int_equal(frame->exec, 0);
	(void)snprintf(text, sizeof(text), "%.*s", (int)frame->error.len, frame->error.text);
	if (failure)
		assert_string_equal(text, failure);
}

/* Each of these is heard no more; its successor is, and the program of before them all has not noticed. */
static void test_engines_that_speak_nonsense(void **state)
{
	static const uint8_t garbage[] = { 0, 0, 0, 3, 0xc1, 0xc1, 0xc1 }, no_length[] = { 0x7f, 0xff, 0xff, 0xfe };
	uint32_t id;

	(void)state;
	id = begin("read x; echo $x; exit 6", NULL);
	await_start(id);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_HELLO, .version = FRAME_VERSION });
	expect_guest_fails("a 'hello' frame does not belong here: the guest is ready");
	send_input(id, "unheard\n", true);
	expect_hello(1); /* the same engine, which came to its senses */
	(void)expect_status(id);
	guest_vm_send_bytes(&vm, garbage, sizeof(garbage));
	expect_guest_fails(NULL);
	be_replaced();
	expect_hello(1);
	assert_int_equal(expect_status(id).stdin_bytes, 0);
	guest_vm_send_bytes(&vm, no_length, sizeof(no_length));
	expect_guest_fails("a frame has an impossible length");
	expect_hello(1);
	(void)expect_status(id);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_SETUP, .version = FRAME_VERSION, .data = garbage,
					    .len = sizeof(garbage) });
	expect_guest_fails(NULL); /* entropy is longer */
	expect_hello(1);
	assert_true(expect_status(id).is_running);
	resume(id, 0, 0);
	result_of(id)->stdin_bytes = 0;
	send_input(id, "heard\n", true);
	finish(id);
	assert_exit(6);
	assert_out("heard\n");
}

/* One side is older than the other: both say so, in words; nothing was done, and the right engine can go on. */
static void test_another_version(void **state)
{
	const char *refusal = "the engine speaks version 5 of the guest protocol, the agent in the kernel bundle 4; rebuild the bundle with "
			      "'mayfly image build'";

	(void)state;
	guest_vm_start(&vm, "base", 192, 64);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_SETUP, .version = FRAME_VERSION + 1 });
	expect_guest_fails(refusal);
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ATTACH, .version = FRAME_VERSION + 1 });
	assert_false(guest_vm_expect(&vm, FRAME_HELLO)->is_set_up);
	expect_guest_fails(refusal);
	assert_false(guest_vm_attach(&vm)->is_set_up);
	guest_vm_setup(&vm);
	exec = 0;
	run_script("echo well");
	assert_exit(0);
	assert_out("well\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_an_engine_that_goes_and_one_that_comes),
		BOOTED(test_an_engine_in_place_of_another),
		BOOTED(test_an_engine_that_broke_off),
		BOOTED(test_an_engine_that_did_not_read),
		BOOTED(test_engines_that_speak_nonsense),
		cmocka_unit_test_teardown(test_another_version, end_after_test),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), 192, 64, argc, argv);
}
