/* When a program waits for the host, which is not its own time: a host that takes nothing is a socket that nobody reads. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/output.h"
#include "tests/unit/unit.h"

#define WINDOW (256 * 1024)
#define PIECES_MAX 100000 /* more than the window holds of any size */

static struct channel channel;
static struct output output;
static int host_fd, program_fd;

static int start(void **state)
{
	int sockets[2], pipes[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	channel_open(&channel, sockets[0]);
	host_fd = sockets[1];
	program_fd = pipes[1];
	output = (struct output){ .pipes = { { .fd = pipes[0] }, { .fd = -1 } }, .limit_bytes = INT64_MAX, .window = WINDOW };
	return 0;
}

static int end(void **state)
{
	(void)state;
	output_close(&output);
	close_fd(&program_fd);
	close_fd(&host_fd);
	close_fd(&channel.fd);
	buf_free(&channel.in);
	buf_free(&channel.out);
	return 0;
}

static bool is_taken(size_t len)
{
	static const uint8_t piece[FRAME_DATA_MAX];
	uint64_t before = output.pipes[0].bytes;

	assert_int_equal(write(program_fd, piece, len), len);
	assert_true(output_pump(&output, 0, &channel) >= 0);
	assert_int_equal(channel_write(&channel), 0);
	return output.pipes[0].bytes > before;
}

/* Pieces of this length, until one is left in the pipe. */
static void fill(size_t len)
{
	unsigned n = 0;

	while (is_taken(len)) {
		n++;
		assert_true(n < PIECES_MAX);
		assert_int_equal(output_is_stalled(&output, &channel), !output_is_wanted(&output, &channel));
	}
}

static void read_as_host(void)
{
	uint8_t data[4096];

	while (recv(host_fd, data, sizeof(data), 0) > 0)
		assert_int_equal(channel_write(&channel), 0);
}

static void test_a_host_that_takes_no_short_lines_is_waited_for(void **state)
{
	(void)state;
	assert_false(output_is_stalled(&output, &channel));
	fill(20);
	assert_true(output_unacknowledged(&output) < WINDOW); /* else this is the other test */
	assert_true(output_is_stalled(&output, &channel));
	read_as_host();
	assert_false(output_is_stalled(&output, &channel));
}

static void test_a_host_that_acknowledges_nothing_is_waited_for(void **state)
{
	(void)state;
	while (output_unacknowledged(&output) < WINDOW) {
		assert_true(is_taken(FRAME_DATA_MAX));
		read_as_host();
	}
	assert_true(output_is_stalled(&output, &channel));
	output_acknowledge(&output, &(struct frame){ .type = FRAME_ACK, .stream = 1, .offset = 1 });
	assert_false(output_is_stalled(&output, &channel));
}

/* What is beyond the limit is read and dropped: nobody waits for it. */
static void test_dropping_is_no_waiting(void **state)
{
	(void)state;
	fill(20);
	output.limit_bytes = output.pipes[0].kept_bytes;
	assert_false(output_is_stalled(&output, &channel));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_host_that_takes_no_short_lines_is_waited_for, start, end),
		cmocka_unit_test_setup_teardown(test_a_host_that_acknowledges_nothing_is_waited_for, start, end),
		cmocka_unit_test_setup_teardown(test_dropping_is_no_waiting, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
