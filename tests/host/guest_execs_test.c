/* Many programs at once in a real microVM: each has its own input, output, time, memory and end, and whatever is
 * wrong about one of them is that one's affair. */
#include <signal.h>
#include <string.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

#define READS_AND_ECHOES "echo begun $1; while read line; do echo got $line; done; exit $1"

static uint32_t begin(const char *script, const char *argument)
{
	const struct plan plan = { .script = script, .argument = argument, .has_more_input = true };

	return send_run(&plan);
}

static void send_kill(uint32_t id, uint32_t signal)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_KILL, .exec = id, .signal = signal });
}

static void send_end(uint32_t id)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_END, .exec = id });
}

/* What came of another one than the last. */
static void look_at(uint32_t id)
{
	finish(id);
	result = result_of(id);
}

static void assert_failed(uint32_t id, const char *failure)
{
	finish(id);
	assert_string_equal(result_of(id)->failure, failure);
}

/* As many as there is room for, each with lines of its own, in any order; and one too many. */
static void test_as_many_as_there_is_room_for(void **state)
{
	char number[FRAME_EXECS_MAX + 1][8], text[64];

	(void)state;
	for (uint32_t id = 1; id <= FRAME_EXECS_MAX; id++) {
		(void)snprintf(number[id], sizeof(number[id]), "%u", id);
		assert_int_equal(begin(READS_AND_ECHOES, number[id]), id);
	}
	assert_failed(begin("echo no", "no"), "there are 16 programs, and no room for another; end one");
	for (uint32_t id = FRAME_EXECS_MAX; id; id--)
		send_input(id, "a\n", false);
	for (uint32_t id = 1; id <= FRAME_EXECS_MAX; id++)
		send_input(id, "b\n", true);
	for (uint32_t id = 1; id <= FRAME_EXECS_MAX; id++) {
		look_at(id);
		assert_exit(id);
		(void)snprintf(text, sizeof(text), "begun %u\ngot a\ngot b\n", id);
		assert_out(text);
	}
	assert_failed(begin("echo no", "no"), "there are 16 programs, and no room for another; end one"); /* none was ended */
	send_end(3);
	run_script("echo room");
	assert_exit(0);
	assert_out("room\n");
}

/* What others do keeps nobody from its end: output without acknowledgement, forks, processor time. */
static void test_bad_neighbours(void **state)
{
	const struct plan loud = { .script = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
				   .is_unacknowledged = true };
	uint32_t loud_id, bomb_id, busy_id;

	(void)state;
	loud_id = send_run(&loud);
	bomb_id = begin("bomb() { bomb | bomb & }; bomb; sleep 1000", NULL);
	busy_id = begin("echo busy; while :; do :; done", NULL);
	await_start(loud_id);
	await_start(bomb_id);
	await_output(busy_id, "busy\n");
	for (int i = 0; i < 3; i++) {
		run_plan((struct plan){ .script = "cat; exit 4", .input = "calm\n" });
		assert_exit(4);
		assert_out("calm\n");
		assert_int_equal(result->exit.oom_kills, 0);
	}
	assert_false(result_of(loud_id)->is_over || result_of(busy_id)->is_over);
	send_kill(busy_id, SIGKILL);
	look_at(busy_id);
	assert_int_equal(result->exit.signal, SIGKILL);
	assert_false(result->exit.is_timed_out || result->exit.is_oom);
	send_end(bomb_id);
	send_end(loud_id);
	run_script("sleep 1; grep -l sleep /proc/[0-9]*/comm | wc -l; echo end"); /* its own, and not the bomb's */
	assert_exit(0);
}

/* A PATH in which a child that has become the task's user looks for long. */
static const char *long_path(void)
{
	static char path[100001];

	for (size_t i = 0; i < sizeof(path) - 1; i += 4)
		memcpy(path + i, "/no:", 4);
	return path;
}

/* A program of the task can stop every other one of the task, also one that is on its way to be one. Their time
 * passes, and the agent has not waited for them. */
static void test_a_neighbour_that_stops_everybody(void **state)
{
	const struct plan running = { .script = "while :; do :; done", .timeout_ms = 3000 };
	const struct plan starting = { .program = "sleep", .path = long_path(), .timeout_ms = 3000 };
	uint32_t bully_id, running_id, starting_id;

	(void)state;
	bully_id = begin("echo begun; exec perl -e 'kill STOP => -1 while 1'", NULL);
	await_output(bully_id, "begun\n");
	running_id = send_run(&running);
	starting_id = send_run(&starting);
	assert_failed(starting_id, "'sleep' could not be executed within its timeout");
	finish(running_id);
	assert_true(result_of(running_id)->exit.is_timed_out || result_of(running_id)->failure[0]);
	send_kill(bully_id, SIGKILL);
	finish(bully_id);
	run_script("echo alive");
	assert_exit(0);
}

static void test_kill(void **state)
{
	uint32_t id, other_id;

	(void)state;
	other_id = begin(READS_AND_ECHOES, "9");
	id = begin("trap 'echo term; exit 5' TERM; setsid sleep 1000 & echo begun; while :; do wait; done", NULL);
	await_output(id, "begun\n");
	send_kill(id, SIGTERM);
	look_at(id);
	assert_exit(5);
	assert_out("begun\nterm\n");
	id = begin("trap '' TERM; echo begun; setsid sleep 1000; echo woken", NULL);
	await_output(id, "begun\n");
	send_kill(id, SIGTERM);
	send_kill(id, SIGKILL); /* all of its processes */
	look_at(id);
	assert_int_equal(result->exit.signal, SIGKILL);
	assert_out("begun\n");
	send_kill(id, SIGKILL); /* too late, and no harm */
	run_script("grep -l sleep /proc/[0-9]*/comm; echo end");
	assert_out("end\n");
	send_input(other_id, "a\n", true);
	look_at(other_id);
	assert_exit(9);
}

/* An engine that lost its head about one exec is told so; the exec next to it does not notice. */
static void test_what_is_wrong_about_one(void **state)
{
	const struct plan again = { .script = "echo again" };
	struct frame_text path = TEXT("x");
	uint32_t good_id, id;

	(void)state;
	good_id = begin(READS_AND_ECHOES, "0");
	id = begin(READS_AND_ECHOES, "1");
	await_output(id, "begun 1\n");
	exec--; /* the same number twice */
	(void)send_run(&again);
	assert_failed(id, "a 'run' frame does not belong here");
	send_input(id, "it is over\n", true); /* and no answer comes */
	id = begin(READS_AND_ECHOES, "1");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_COLLECT, .exec = id, .paths = &path, .n_paths = 1,
					    .limit_bytes = 9 });
	assert_failed(id, "a 'collect' frame does not belong here");
	id = begin(READS_AND_ECHOES, "1");
	result->stdin_bytes = 7;
	send_input(id, "gap\n", true);
	assert_failed(id, "stdin at 7 does not continue the 0 bytes before it");
	id = begin(READS_AND_ECHOES, "1");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT, .exec = id, .path = path, .is_last = true });
	assert_failed(id, "a 'put' frame does not belong here");
	id = begin(READS_AND_ECHOES, "1");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_RESUME, .exec = id });
	assert_failed(id, "a 'resume' frame does not belong here");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT, .exec = id + 1, .path = path,
					    .data = (const uint8_t *)"1", .len = 1 });
	id = begin(READS_AND_ECHOES, "1");
	assert_failed(id, "the file 'x' did not come to its end before the program");
	exec += 2; /* it may leave some out, but not come back to them */
	*result_of(exec) = (struct guest_result){ .stdin_bytes = 0 };
	send_input(exec, "to nobody\n", true);
	assert_failed(exec, "a 'stdin' frame is about a program that was not asked for");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = exec - 1, .stream = 1, .offset = 5 });
	send_end(exec - 1);
	send_input(good_id, "good\n", true);
	look_at(good_id);
	assert_exit(0);
	assert_out("begun 0\ngot good\n");
}

/* What can be said twice is said twice without harm: the same input, an acknowledgement. */
static void test_what_is_said_again(void **state)
{
	uint32_t id;

	(void)state;
	id = begin(READS_AND_ECHOES, "0");
	send_input(id, "one\n", false);
	result->stdin_bytes = 0;
	send_input(id, "one\ntwo\n", false);
	result->stdin_bytes = 2;
	send_input(id, "e\ntwo\nthree\n", true);
	for (int i = 0; i < 2; i++)
		guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = id, .stream = 1, .offset = 1000000 });
	finish(id);
	assert_exit(0);
	assert_out("begun 0\ngot one\ngot two\ngot three\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_as_many_as_there_is_room_for),
		BOOTED(test_bad_neighbours),
		BOOTED(test_a_neighbour_that_stops_everybody),
		BOOTED(test_kill),
		BOOTED(test_what_is_wrong_about_one),
		BOOTED(test_what_is_said_again),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), 256, 64, argc, argv);
}
