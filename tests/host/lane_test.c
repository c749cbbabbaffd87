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
#include "lane/workspaces.h"
#include "tests/support/vmm_lane.h"
#include "tests/unit/unit.h"

#define SOON_MS 500   /* a deadline that ends while the lane does not run */
#define LATER_MS 8000 /* one that does not, on a busy machine */
#define ID "lane-test"

static struct vmm_lane lane;

static int start(void **state)
{
	vmm_lane_start(&lane, 1);
	*state = &lane;
	return 0;
}

static int end(void **state)
{
	struct vmm_lane *fixture = *state;
	struct err err;

	assert_int_equal(vm_destroy(&fixture->setup.place, ID, &err), 0);
	vmm_lane_end(fixture);
	return 0;
}

static void ask_start(struct vmm_lane *fixture, uint64_t deadline_boot_ms)
{
	const struct lane_request request = vmm_lane_request(ID, deadline_boot_ms);

	vmm_lane_ask(fixture, &request);
}

static int visit(void *ctx, const char *id)
{
	return strcmp(id, ctx) == 0; /* answers 1 and stops there */
}

static bool has_vm(struct vmm_lane *fixture)
{
	char id[] = ID;
	struct err err;

	return workspaces_each(&fixture->setup.place, visit, id, &err) == 1;
}

/* As its command line says: mayfly-guard CGROUP MEMORY_MIB CPUS THREADS DEADLINE_BOOT_MS ... */
static uint64_t deadline_of_guard(struct vmm_lane *fixture)
{
	char path[PATH_MAX], line[1024] = "", *word = line;
	cleanup_file FILE *stream = NULL;
	int pid = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)fixture->pid, (int)fixture->pid);
	stream = fopen(path, "re");
	assert_true(stream && fscanf(stream, "%d", &pid) == 1);
	(void)fclose(TAKE_PTR(stream));
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	for (int waited_ms = 0; !line[0] && waited_ms < VMM_LANE_PATIENCE_MS; waited_ms++) {
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

static struct vm_exit hear_guard(struct vmm_lane *fixture)
{
	struct pollfd pollfd = { .fd = fixture->reply.fds[2], .events = POLLIN };
	struct vm_exit vm_exit;
	struct err err;

	assert_int_equal(poll(&pollfd, 1, VMM_LANE_PATIENCE_MS), 1);
	assert_int_equal(guard_receive(fixture->reply.fds[2], &vm_exit, &err), 0);
	return vm_exit;
}

/* Sent in time, come to too late. */
static void test_what_is_too_late_starts_nothing(void **state)
{
	struct vmm_lane *fixture = *state;
	struct err err;

	assert_int_equal(kill(fixture->pid, SIGSTOP), 0);
	ask_start(fixture, clock_boot_ms() + SOON_MS);
	(void)poll(NULL, 0, SOON_MS + 10);
	assert_int_equal(kill(fixture->pid, SIGCONT), 0);
	assert_int_equal(vmm_lane_answer(fixture), ETIME);
	assert_int_equal(fixture->fault.kind, ERR_BUSY);
	assert_non_null(strstr(fixture->fault.msg, "deadline passed"));
	assert_false(has_vm(fixture));
	ask_start(fixture, clock_boot_ms() + VMM_LANE_LONG_MS); /* the lane goes on, and a later one is started */
	assert_int_equal(vmm_lane_answer(fixture), 0);
	for (int waited_ms = 0; !has_vm(fixture) && waited_ms < VMM_LANE_PATIENCE_MS; waited_ms++)
		(void)poll(NULL, 0, 1); /* its guard makes the group */
	assert_true(has_vm(fixture));
	assert_int_equal(guard_kill(fixture->reply.fds[2], &err), 0);
	assert_false(hear_guard(fixture).is_deadline);
}

/* A lane that stands still for most of it takes nothing from it. */
static void test_a_late_start_does_not_move_it(void **state)
{
	struct vmm_lane *fixture = *state;
	uint64_t deadline = clock_boot_ms() + LATER_MS;

	assert_int_equal(kill(fixture->pid, SIGSTOP), 0);
	ask_start(fixture, deadline);
	(void)poll(NULL, 0, LATER_MS / 2);
	assert_int_equal(kill(fixture->pid, SIGCONT), 0);
	if (vmm_lane_answer(fixture) == ETIME)
		return; /* a machine that takes a second to do this has shown the same */
	assert_int_equal(fixture->fault.kind, ERR_NONE);
	assert_int_equal(kill(fixture->pid, SIGSTOP), 0); /* nobody helps the guard */
	assert_int_equal(deadline_of_guard(fixture), deadline);
	assert_true(hear_guard(fixture).is_deadline);
	assert_true(clock_boot_ms() >= deadline);
	assert_false(has_vm(fixture));
	assert_int_equal(kill(fixture->pid, SIGCONT), 0);
}

/* It is a bug of the engine's, or somebody else's engine. */
static void test_one_that_is_too_far_is_refused(void **state)
{
	struct vmm_lane *fixture = *state;

	ask_start(fixture, UINT64_MAX);
	assert_int_equal(vmm_lane_answer(fixture), ERANGE);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_false(has_vm(fixture));
}

/* Nobody uses a name twice: what is there is not harmed. */
static void test_a_name_is_used_once(void **state)
{
	struct vmm_lane *fixture = *state;
	struct pollfd guard = { .events = POLLIN };
	cleanup_fd int guard_fd = -1;

	ask_start(fixture, clock_boot_ms() + VMM_LANE_LONG_MS);
	assert_int_equal(vmm_lane_answer(fixture), 0);
	guard_fd = take_fd(&fixture->reply.fds[2]);
	for (int waited_ms = 0; !has_vm(fixture) && waited_ms < VMM_LANE_PATIENCE_MS; waited_ms++)
		(void)poll(NULL, 0, 1); /* its guard makes the group */
	ask_start(fixture, clock_boot_ms() + VMM_LANE_LONG_MS);
	assert_int_equal(vmm_lane_answer(fixture), EEXIST);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_true(has_vm(fixture));
	guard.fd = guard_fd;
	assert_int_equal(poll(&guard, 1, 0), 0); /* and it has nothing to say */
}

/* QEMU is given its disk later, over QMP. */
static void test_a_disk_for_who_wants_none_is_refused(void **state)
{
	struct lane_request request = vmm_lane_request(ID, clock_boot_ms() + VMM_LANE_LONG_MS);
	struct vmm_lane *fixture = *state;
	struct err err;

	request.of.vm_start.drive = DRIVE_FILE;
	assert_int_equal(secret_new(DISK_KEY_BYTES, &request.secret, &err), 0);
	request.fds[request.n_fds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	vmm_lane_ask(fixture, &request);
	lane_request_clear(&request);
	assert_int_equal(vmm_lane_answer(fixture), EINVAL);
	assert_int_equal(fixture->fault.kind, ERR_BUG);
	assert_false(has_vm(fixture));
}

static void test_a_request_of_another_lane_ends_it(void **state)
{
	const struct lane_request request = { .op = LANE_OP_DISK_ERASE, .deadline_boot_ms = clock_boot_ms() + VMM_LANE_LONG_MS, .of.vm.vm_id = ID };
	struct vmm_lane *fixture = *state;
	struct pollfd pollfd = { .fd = fixture->fd, .events = POLLIN };
	struct err err, fault;
	struct lane_reply reply;
	uint64_t seq;

	vmm_lane_ask(fixture, &request);
	assert_int_equal(poll(&pollfd, 1, VMM_LANE_PATIENCE_MS), 1);
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
