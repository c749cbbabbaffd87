/* The vmm lane and the guard it starts, asked as the engine asks: a deadline is a time, not a length, so nothing that hangs
 * before it moves it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/guard.h"
#include "host/vm.h"
#include "lane/datagram.h"
#include "lane/lane.h"
#include "lane/workspaces.h"
#include "tests/unit/unit.h"

#define PATIENCE_MS 60000
#define SOON_MS 500   /* a deadline that ends while the lane does not run */
#define LATER_MS 8000 /* one that does not, on a busy machine */
#define LONG_MS 600000
#define ID "lane-test"

struct fixture {
	struct lane_setup setup;
	pid_t lane;
	int fd;
	struct secret *buffer;
	struct lane_reply reply; /* the last one */
	struct err fault;	 /* and how it says that the operation failed */
	uint64_t seq;
};

static const char *state_dir(void)
{
	const char *dir = getenv("MAYFLY_STATE");

	return dir ? dir : SOURCE_DIR "/.mayfly";
}

static int start(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;
	int pair[2];

	assert_non_null(fixture);
	assert_int_equal(secret_new(LANE_DATAGRAM_MAX, &fixture->buffer, &err), 0);
	(void)snprintf(fixture->setup.place.host, sizeof(fixture->setup.place.host), "lanetest-%d", (int)getpid());
	(void)snprintf(fixture->setup.place.state_dir, sizeof(fixture->setup.place.state_dir), "%s", state_dir());
	(void)snprintf(fixture->setup.libexec_dir, sizeof(fixture->setup.libexec_dir), "%s", LIBEXEC_DIR);
	fixture->setup.slot_uid_base = 64900;
	fixture->setup.n_slots = 1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fixture->lane = fork();
	if (fixture->lane == 0) {
		(void)close(pair[0]);
		_exit(lane_main(LANE_VMM, pair[1], &fixture->setup));
	}
	assert_true(fixture->lane > 0);
	(void)close(pair[1]);
	fixture->fd = pair[0];
	*state = fixture;
	return 0;
}

static int end(void **state)
{
	struct fixture *fixture = *state;
	char group[PATH_MAX];
	struct err err;

	close_fd(&fixture->fd);
	lane_reply_clear(&fixture->reply);
	secret_free(fixture->buffer);
	(void)kill(fixture->lane, SIGCONT); /* a test that failed may have left it stopped */
	assert_int_equal(waitpid(fixture->lane, NULL, 0), fixture->lane);
	assert_int_equal(vm_destroy(&fixture->setup.place, ID, &err), 0);
	for (const char *const *root = (const char *const[]){ "memory/", "pids/", "cpu/", "", NULL }; *root; root++) {
		(void)snprintf(group, sizeof(group), "/sys/fs/cgroup/%smayfly.%s", *root, fixture->setup.place.host);
		(void)rmdir(group); /* the parent stays as long as its worker; not in every hierarchy */
	}
	free(fixture);
	return 0;
}

static void ask(struct fixture *fixture, const struct lane_request *request)
{
	struct err err;

	assert_int_equal(lane_send_request(fixture->fd, fixture->buffer, request, ++fixture->seq, &err), 0);
}

static struct lane_request start_request(uint64_t deadline_boot_ms)
{
	return (struct lane_request){ .op = LANE_OP_VM_START,
					      .deadline_boot_ms = clock_boot_ms() + LONG_MS,
					      .of.vm_start = { .vm_id = ID,
							       .image = "base",
							       .launcher = LAUNCHER_QEMU,
							       .cpus = 1,
							       .memory_mib = 128,
							       .disk_mib = 64,
							       .guard_deadline_boot_ms = deadline_boot_ms } };
}

static void ask_start(struct fixture *fixture, uint64_t deadline_boot_ms)
{
	const struct lane_request request = start_request(deadline_boot_ms);

	ask(fixture, &request);
}

/* 0, or the errno of its failure. */
static int answer(struct fixture *fixture)
{
	struct pollfd pollfd = { .fd = fixture->fd, .events = POLLIN };
	struct err err = { 0 };
	uint64_t seq;

	lane_reply_clear(&fixture->reply);
	assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
	if (lane_receive_reply(fixture->fd, fixture->buffer, &fixture->reply, &fixture->fault, &seq, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(seq, fixture->seq);
	return fixture->fault.errnum;
}

static int visit(void *ctx, const char *id)
{
	return strcmp(id, ctx) == 0; /* answers 1 and stops there */
}

static bool has_vm(struct fixture *fixture)
{
	char id[] = ID;
	struct err err;

	return workspaces_each(&fixture->setup.place, visit, id, &err) == 1;
}

/* As its command line says: mayfly-guard CGROUP MEMORY_MIB CPUS THREADS DEADLINE_BOOT_MS ... */
static uint64_t deadline_of_guard(struct fixture *fixture)
{
	char path[PATH_MAX], line[1024] = "", *word = line;
	cleanup_file FILE *stream = NULL;
	int pid = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)fixture->lane, (int)fixture->lane);
	stream = fopen(path, "re");
	assert_true(stream && fscanf(stream, "%d", &pid) == 1);
	(void)fclose(TAKE_PTR(stream));
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	for (int waited_ms = 0; !line[0] && waited_ms < PATIENCE_MS; waited_ms++) {
		stream = fopen(path, "re");
		assert_non_null(stream);
		if (fread(line, 1, sizeof(line) - 1, stream) == 0)
			(void)poll(NULL, 0, 1); /* it is in the middle of its exec */
		(void)fclose(TAKE_PTR(stream));
	}
	for (int i = 0; i < 5; i++)
		word += strlen(word) + 1;
	return strtoull(word, NULL, 10);
}

static struct vm_exit hear_guard(struct fixture *fixture)
{
	struct pollfd pollfd = { .fd = fixture->reply.fds[2], .events = POLLIN };
	struct vm_exit vm_exit;
	struct err err;

	assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
	assert_int_equal(guard_receive(fixture->reply.fds[2], &vm_exit, &err), 0);
	return vm_exit;
}

/* Sent in time, come to too late. */
static void test_what_is_too_late_starts_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct err err;

	assert_int_equal(kill(fixture->lane, SIGSTOP), 0);
	ask_start(fixture, clock_boot_ms() + SOON_MS);
	(void)poll(NULL, 0, SOON_MS + 10);
	assert_int_equal(kill(fixture->lane, SIGCONT), 0);
	assert_int_equal(answer(fixture), ETIME);
	assert_int_equal(fixture->fault.kind, ERR_BUSY);
	assert_non_null(strstr(fixture->fault.msg, "deadline passed"));
	assert_false(has_vm(fixture));
	ask_start(fixture, clock_boot_ms() + LONG_MS); /* the lane goes on, and a later one is started */
	assert_int_equal(answer(fixture), 0);
	for (int waited_ms = 0; !has_vm(fixture) && waited_ms < PATIENCE_MS; waited_ms++)
		(void)poll(NULL, 0, 1); /* its guard makes the group */
	assert_true(has_vm(fixture));
	assert_int_equal(guard_kill(fixture->reply.fds[2], &err), 0);
	assert_false(hear_guard(fixture).is_deadline);
}

/* A lane that stands still for most of it takes nothing from it. */
static void test_a_late_start_does_not_move_it(void **state)
{
	struct fixture *fixture = *state;
	uint64_t deadline = clock_boot_ms() + LATER_MS;

	assert_int_equal(kill(fixture->lane, SIGSTOP), 0);
	ask_start(fixture, deadline);
	(void)poll(NULL, 0, LATER_MS / 2);
	assert_int_equal(kill(fixture->lane, SIGCONT), 0);
	if (answer(fixture) == ETIME)
		return; /* a machine that takes a second to do this has shown the same */
	assert_int_equal(fixture->fault.kind, ERR_NONE);
	assert_int_equal(kill(fixture->lane, SIGSTOP), 0); /* nobody helps the guard */
	assert_int_equal(deadline_of_guard(fixture), deadline);
	assert_true(hear_guard(fixture).is_deadline);
	assert_true(clock_boot_ms() >= deadline);
	assert_false(has_vm(fixture));
	assert_int_equal(kill(fixture->lane, SIGCONT), 0);
}

/* It is a bug of the engine's, or somebody else's engine. */
static void test_one_that_is_too_far_is_refused(void **state)
{
	struct fixture *fixture = *state;

	ask_start(fixture, UINT64_MAX);
	assert_int_equal(answer(fixture), ERANGE);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_false(has_vm(fixture));
}

/* Nobody uses a name twice: what is there is not harmed. */
static void test_a_name_is_used_once(void **state)
{
	struct fixture *fixture = *state;
	struct pollfd guard = { .events = POLLIN };
	cleanup_fd int guard_fd = -1;

	ask_start(fixture, clock_boot_ms() + LONG_MS);
	assert_int_equal(answer(fixture), 0);
	guard_fd = take_fd(&fixture->reply.fds[2]);
	for (int waited_ms = 0; !has_vm(fixture) && waited_ms < PATIENCE_MS; waited_ms++)
		(void)poll(NULL, 0, 1); /* its guard makes the group */
	ask_start(fixture, clock_boot_ms() + LONG_MS);
	assert_int_equal(answer(fixture), EEXIST);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_true(has_vm(fixture));
	guard.fd = guard_fd;
	assert_int_equal(poll(&guard, 1, 0), 0); /* and it has nothing to say */
}

/* QEMU is given its disk later, over QMP. */
static void test_a_disk_for_who_wants_none_is_refused(void **state)
{
	struct lane_request request = start_request(clock_boot_ms() + LONG_MS);
	struct fixture *fixture = *state;
	struct err err;

	request.of.vm_start.drive = DRIVE_FILE;
	assert_int_equal(secret_new(DISK_KEY_BYTES, &request.secret, &err), 0);
	request.fds[request.n_fds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	ask(fixture, &request);
	lane_request_clear(&request);
	assert_int_equal(answer(fixture), EINVAL);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_false(has_vm(fixture));
}

static void test_a_request_of_another_lane_ends_it(void **state)
{
	const struct lane_request request = { .op = LANE_OP_DISK_ERASE, .deadline_boot_ms = clock_boot_ms() + LONG_MS, .of.vm.vm_id = ID };
	struct fixture *fixture = *state;
	struct pollfd pollfd = { .fd = fixture->fd, .events = POLLIN };
	struct err err, fault;
	struct lane_reply reply;
	uint64_t seq;

	ask(fixture, &request);
	assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
	assert_true(lane_receive_reply(fixture->fd, fixture->buffer, &reply, &fault, &seq, &err) < 0);
	assert_int_equal(err.kind, ERR_BUSY); /* the end, and not a word */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_too_late_starts_nothing, start, end),
		cmocka_unit_test_setup_teardown(test_a_late_start_does_not_move_it, start, end),
		cmocka_unit_test_setup_teardown(test_one_that_is_too_far_is_refused, start, end),
		cmocka_unit_test_setup_teardown(test_a_name_is_used_once, start, end),
		cmocka_unit_test_setup_teardown(test_a_disk_for_who_wants_none_is_refused, start, end),
		cmocka_unit_test_setup_teardown(test_a_request_of_another_lane_ends_it, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
