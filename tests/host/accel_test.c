/* Who hears a guest that a supervisor probes: it has no privileges while it listens, and nothing that comes in is more than a "no". */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/own.h"
#include "host/uids.h"
#include "lane/accel_probe.h"
#include "tests/unit/unit.h"
#include "wire/frame.h"

#define PATIENCE_MS 20000

/* A line of /proc/<pid>/status, behind its colon. */
static void status_of(pid_t pid, const char *key, char out[128])
{
	char path[64], line[256];
	cleanup_file FILE *stream = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	stream = fopen(path, "re");
	out[0] = '\0';
	while (stream && fgets(line, sizeof(line), stream))
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			(void)snprintf(out, 128, "%s", line + strlen(key) + 2);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	cleanup_file FILE *stream = NULL;
	int child = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	stream = fopen(path, "re");
	return stream && fscanf(stream, "%d", &child) == 1 ? child : 0;
}

/* In a process of its own, as a supervisor; what it heard is its exit status. */
static pid_t listen_at(int fd)
{
	pid_t pid = fork();
	enum accel accel;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(accel_hear(fd, &accel, NULL) < 0 ? 99 : (int)accel);
	return pid;
}

static int answer_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int answer_to(const void *bytes, size_t len)
{
	int pair[2], answer;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = listen_at(pair[0]);
	close_fd(&pair[0]);
	assert_int_equal(send(pair[1], bytes, len, MSG_NOSIGNAL), len);
	(void)shutdown(pair[1], SHUT_WR);
	answer = answer_of(pid);
	close_fd(&pair[1]);
	return answer;
}

static void encode_hello(struct buf *buf)
{
	const struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };

	assert_int_equal(frame_encode(&hello, buf), 0);
}

static void test_what_counts_is_a_hello(void **state)
{
	const struct frame ready = { .type = FRAME_READY };
	struct buf hello = { 0 }, other = { 0 };
	uint8_t evil[600];

	(void)state;
	memset(evil, 0xff, sizeof(evil));
	encode_hello(&hello);
	assert_int_equal(frame_encode(&ready, &other), 0);
	assert_int_equal(answer_to(hello.data, hello.len), ACCEL_KVM);
	assert_int_equal(answer_to(hello.data, hello.len - 1), ACCEL_TCG);
	assert_int_equal(answer_to(other.data, other.len), ACCEL_TCG);
	assert_int_equal(answer_to(evil, sizeof(evil)), ACCEL_TCG);
	assert_int_equal(answer_to("", 0), ACCEL_TCG);
	buf_free(&hello);
	buf_free(&other);
}

static unsigned count_fds(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		(void)closedir(dir);
	return n;
}

/* Before a byte has come; the one who forked it is the control. */
static void test_who_listens_has_no_privileges(void **state)
{
	char seccomp[128] = "", uid[128], caps[128], wanted[64];
	struct buf hello = { 0 };
	int pair[2];
	pid_t parent, reader = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	parent = listen_at(pair[0]);
	for (int i = 0; seccomp[0] != '2' && i < PATIENCE_MS; i++) {
		(void)poll(NULL, 0, 1);
		reader = child_of(parent);
		status_of(reader, "Seccomp", seccomp);
	}
	assert_int_equal(seccomp[0], '2');
	(void)snprintf(wanted, sizeof(wanted), "%d\t%d\t%d\t%d\n", UID_READER, UID_READER, UID_READER, UID_READER);
	status_of(reader, "Uid", uid);
	assert_string_equal(uid, wanted);
	for (const char *const *key = (const char *const[]){ "CapPrm", "CapEff", "CapBnd", "CapAmb", NULL }; *key; key++) {
		status_of(reader, *key, caps);
		assert_int_equal(strtoull(caps, NULL, 16), 0);
	}
	assert_int_equal(count_fds(reader), 4); /* 0 to 2, and the channel */
	status_of(parent, "Uid", uid);
	assert_int_equal(uid[0], '0');
	status_of(parent, "CapEff", caps);
	assert_int_not_equal(strtoull(caps, NULL, 16), 0);
	encode_hello(&hello);
	assert_int_equal(send(pair[1], hello.data, hello.len, MSG_NOSIGNAL), hello.len);
	buf_free(&hello);
	assert_int_equal(answer_of(parent), ACCEL_KVM);
	close_fd(&pair[0]);
	close_fd(&pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_counts_is_a_hello),
		cmocka_unit_test(test_who_listens_has_no_privileges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
