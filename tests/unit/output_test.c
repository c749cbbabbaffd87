/* A program's output in the agent: what is kept, sent, acknowledged and sent again, and when the program waits for
 * the engine, which is not its own time. The engine is a socket. */
#include "guest/agent/output.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "tests/unit/unit.h"

#define WINDOW	   (64 * 1024)
#define TURNS_MAX  100000 /* more than the window holds of any size */
#define STDOUT	   1

static struct connection connection;
static struct output output;
static int engine_fd, program_fd;
static uint8_t written[4 * WINDOW]; /* every byte is told from its neighbours */

static int start(void **state)
{
	const struct frame run = { .exec = 7, .output_limit_bytes = INT64_MAX, .window = WINDOW };
	int sockets[2], pipes[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	connection_open(&connection, sockets[0]);
	engine_fd = sockets[1];
	program_fd = pipes[1];
	assert_int_equal(output_open(&output, &run, pipes[0], -1), 0);
	for (size_t i = 0; i < sizeof(written); i++)
		written[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static int end(void **state)
{
	(void)state;
	output_close(&output);
	close_fd(&program_fd);
	close_fd(&engine_fd);
	close_fd(&connection.fd);
	buf_free(&connection.in);
	buf_free(&connection.out);
	return 0;
}

static void turn(void)
{
	output_read(&output);
	assert_int_equal(output_send(&output, &connection), 0);
}

/* The program writes from `at` on, in pieces of this length, until one is left in the pipe. How much was taken of it. */
static size_t fill(size_t at, size_t len)
{
	unsigned n = 0;

	for (size_t before = at;; before = at) {
		ssize_t taken = write(program_fd, written + at % sizeof(written), len);

		at += taken > 0 ? (size_t)taken : 0;
		turn();
		assert_true(++n < TURNS_MAX);
		assert_int_equal(output_is_stalled(&output), !output_is_wanted(&output));
		if (at == before)
			return output.streams[0].bytes;
	}
}

/* Everything that is queued is output of the program from `offset` on. Up to where it went. */
static uint64_t take_as_engine(uint64_t offset)
{
	struct frame_reader reader = { .n_sync = 0 };
	size_t bytes, at = 0;

	while (frame_reader_next(&reader, connection.out.data + at, connection.out.len - at, &bytes) == FRAME_READ_WHOLE) {
		struct frame frame;
		char why[160];

		assert_int_equal(frame_decode(connection.out.data + at, bytes, &frame, why), 0);
		assert_int_equal(frame.type, FRAME_OUT);
		assert_int_equal(frame.exec, 7);
		assert_int_equal(frame.offset, offset);
		for (size_t i = 0; i < frame.len; i++)
			if (frame.data[i] != written[(offset + i) % sizeof(written)])
				fail_msg("byte %zu is another", (size_t)offset + i);
		offset += frame.len;
		at += bytes;
		frame_clear(&frame);
	}
	buf_clear(&connection.out);
	return offset;
}

static void acknowledge(uint64_t offset)
{
	output_acknowledge(&output, &(struct frame){ .type = FRAME_ACK, .stream = STDOUT, .offset = offset });
}

static bool resume(uint64_t offset)
{
	return output_resume(&output, &(struct frame){ .type = FRAME_RESUME, .stdout_bytes = offset });
}

/* An engine that takes nothing: of short lines, too, the whole window is kept. */
static void test_an_engine_that_takes_nothing_is_waited_for(void **state)
{
	(void)state;
	assert_false(output_is_stalled(&output));
	assert_int_equal(fill(0, 20), WINDOW);
	assert_true(output_is_stalled(&output));
	acknowledge(1);
	assert_false(output_is_stalled(&output));
	assert_int_equal(fill(WINDOW, 20), WINDOW + 1);
}

/* Round and round the ring, in steps that never fit it. */
static void test_every_byte_comes_once(void **state)
{
	uint64_t taken = 0;
	size_t at = 0;

	(void)state;
	while (taken < 10 * WINDOW) {
		ssize_t n = write(program_fd, written + at % sizeof(written),
				  at % 7919 + 1 < sizeof(written) - at % sizeof(written) ?
											    at % 7919 + 1 :
											    1);
		at += n > 0 ? (size_t)n : 0;
		turn();
		taken = take_as_engine(taken);
		acknowledge(taken > 1000 ? taken - 1000 : 0);
	}
	assert_int_equal(output.streams[0].bytes, output.streams[0].kept);
}

static void test_another_engine_gets_what_the_first_did_not_have(void **state)
{
	uint64_t taken;

	(void)state;
	(void)fill(0, 3000);
	taken = take_as_engine(0);
	assert_int_equal(taken, WINDOW);
	acknowledge(10000);
	assert_false(resume(9999)); /* forgotten */
	assert_false(resume(taken + 1)); /* never sent */
	assert_int_equal(output.streams[0].sent, taken);
	assert_true(resume(12345));
	turn();
	turn();
	assert_int_equal(take_as_engine(12345), 12345 + WINDOW); /* the pipe held more, for which there is room now */
	assert_int_equal(output.streams[0].acknowledged, 12345);
	assert_true(resume(12345 + WINDOW)); /* the third has everything */
	assert_true(output_is_acknowledged(&output));
}

static void test_what_was_not_sent_is_not_acknowledged(void **state)
{
	(void)state;
	assert_int_equal(write(program_fd, written, 100), 100);
	output_read(&output);
	acknowledge(100);
	assert_int_equal(output.streams[0].acknowledged, 0);
	turn();
	acknowledge(50);
	acknowledge(20);
	assert_int_equal(output.streams[0].acknowledged, 50);
	acknowledge(UINT64_MAX);
	assert_int_equal(output.streams[0].acknowledged, 100);
}

/* What is beyond the limit is read and dropped: nobody waits for it. */
static void test_dropping_is_no_waiting(void **state)
{
	(void)state;
	(void)fill(0, 20);
	output.limit_bytes = output.streams[0].kept;
	assert_false(output_is_stalled(&output));
	output_read(&output);
	assert_true(output.streams[0].bytes > WINDOW);
	assert_int_equal(output.streams[0].kept, WINDOW);
}

/* Somebody else holds the pipe open, and writes on: its end is where it was when the program was gone. */
static void test_a_pipe_that_does_not_end(void **state)
{
	(void)state;
	assert_int_equal(write(program_fd, written, 100), 100);
	output_finish(&output);
	assert_int_equal(write(program_fd, written, 50), 50);
	output_read(&output);
	assert_true(output_is_read(&output));
	assert_int_equal(output.streams[0].bytes, 100);
	assert_false(output_is_sent(&output));
	turn();
	assert_true(output_is_sent(&output));
	assert_int_equal(take_as_engine(0), 100);
}

#define STARTED(test) cmocka_unit_test_setup_teardown(test, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STARTED(test_an_engine_that_takes_nothing_is_waited_for), STARTED(test_every_byte_comes_once),
		STARTED(test_another_engine_gets_what_the_first_did_not_have),
		STARTED(test_what_was_not_sent_is_not_acknowledged), STARTED(test_dropping_is_no_waiting),
		STARTED(test_a_pipe_that_does_not_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
