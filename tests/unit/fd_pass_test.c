/* Descriptors over a socket: as many as were sent arrive, and none that was not wanted stays open. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd_pass.h"
#include "base/own.h"

struct pair {
	int ends[2];
};

static struct pair make_pair(int type)
{
	struct pair pair;

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair.ends), 0);
	return pair;
}

static void close_pair(struct pair *pair)
{
	close_fd(&pair->ends[0]);
	close_fd(&pair->ends[1]);
}

static unsigned count_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static bool is_null_device(int fd)
{
	struct stat of_fd, of_null;

	return fstat(fd, &of_fd) == 0 && stat("/dev/null", &of_null) == 0 && of_fd.st_rdev == of_null.st_rdev;
}

static void send_nulls(int socket_fd, const char *text, size_t n)
{
	int fds[FD_PASS_MAX] = { 0 };

	for (size_t i = 0; i < n; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(fd_send(socket_fd, text, strlen(text), fds, n, 0), strlen(text));
	for (size_t i = 0; i < n; i++)
		close_fd(&fds[i]);
}

static void test_none_some_and_all(void **state)
{
	cleanup_(close_pair) struct pair pair = make_pair(SOCK_SEQPACKET);
	unsigned before = count_open();

	(void)state;
	for (size_t n = 0; n <= FD_PASS_MAX; n++) {
		int fds[FD_PASS_MAX];
		size_t n_fds = 99;
		char data[16];

		send_nulls(pair.ends[0], "hello", n);
		assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), fds, FD_PASS_MAX, &n_fds, 0), 5);
		assert_int_equal(n_fds, n);
		for (size_t i = 0; i < n; i++) {
			assert_true(is_null_device(fds[i]));
			assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
			close_fd(&fds[i]);
		}
	}
	assert_int_equal(count_open(), before);
}

/* Refused, and nothing of it stays: neither what had no room nor what had. */
static void test_more_than_were_expected(void **state)
{
	cleanup_(close_pair) struct pair pair = make_pair(SOCK_SEQPACKET);
	unsigned before = count_open();
	int fd = -1;
	size_t n_fds = 0;
	char data[16];

	(void)state;
	send_nulls(pair.ends[0], "two", 2);
	assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), &fd, 1, &n_fds, 0), -EBADMSG);
	send_nulls(pair.ends[0], "too long for its reader", 1);
	assert_int_equal(fd_receive(pair.ends[1], data, 3, &fd, 1, &n_fds, 0), -EMSGSIZE);
	assert_int_equal(count_open(), before);
	assert_int_equal(n_fds, 0);
	close_fd(&pair.ends[0]);
	assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), &fd, 1, &n_fds, 0), 0);
}

static void test_a_stream_and_nobody(void **state)
{
	cleanup_(close_pair) struct pair pair = make_pair(SOCK_STREAM);
	size_t n_fds = 0;
	int fd = -1;
	char data[8];

	(void)state;
	assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), &fd, 1, &n_fds, MSG_DONTWAIT), -EAGAIN);
	send_nulls(pair.ends[0], "0123456789", 1);
	assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), &fd, 1, &n_fds, 0), 8);
	assert_int_equal(n_fds, 1);
	close_fd(&fd);
	assert_int_equal(fd_receive(pair.ends[1], data, sizeof(data), &fd, 1, &n_fds, 0), 2);
	assert_int_equal(n_fds, 0);
	close_fd(&pair.ends[1]);
	assert_int_equal(fd_send(pair.ends[0], "x", 1, NULL, 0, 0), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_some_and_all),
		cmocka_unit_test(test_more_than_were_expected),
		cmocka_unit_test(test_a_stream_and_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
