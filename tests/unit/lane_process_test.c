/* A lane as both supervisors have it: it serves, is replaced, hangs, and is let go. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "lane/datagram.h"
#include "lane/process.h"

#define PATIENT_MS 60000

struct fixture {
	struct lane_setup setup;
	struct lane_process lane;
	struct secret *buffer;
	int fd; /* the engine's end */
};

static void on_child(void *ctx)
{
	struct fixture *fixture = ctx;

	close_fd(&fixture->fd);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[] = "/tmp/mayfly-process.XXXXXX";
	struct err err;

	assert_true(fixture && mkdtemp(path));
	(void)snprintf(fixture->setup.place.host, sizeof(fixture->setup.place.host), "process-test-%d", (int)getpid());
	(void)snprintf(fixture->setup.place.state_dir, sizeof(fixture->setup.place.state_dir), "%s", path);
	fixture->lane = (struct lane_process){ .kind = LANE_REAP, .setup = &fixture->setup, .on_child = on_child, .ctx = fixture };
	fixture->fd = -1;
	assert_int_equal(secret_new(LANE_DATAGRAM_MAX, &fixture->buffer, &err), 0);
	assert_int_equal(lane_process_start(&fixture->lane, &fixture->fd, &err), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close_fd(&fixture->fd);
	lane_process_leave(&fixture->lane);
	assert_int_equal(fixture->lane.pid, 0);
	secret_free(fixture->buffer);
	(void)rmdir(fixture->setup.place.state_dir);
	free(fixture);
	return 0;
}

/* It lists what is on this host: nothing. */
static bool serves(struct fixture *fixture)
{
	const struct lane_request request = { .op = LANE_OP_SWEEP, .deadline_boot_ms = clock_boot_ms() + PATIENT_MS };
	struct lane_reply reply;
	struct err err, fault;
	uint64_t seq;
	int r;

	if (lane_send_request(fixture->fd, fixture->buffer, &request, 7, &err) < 0)
		return false;
	while ((r = lane_receive_reply(fixture->fd, fixture->buffer, &reply, &fault, &seq, &err)) == -EAGAIN)
		(void)usleep(1000);
	return r == 0 && seq == 7 && fault.kind == ERR_NONE && !reply.of.sweep.vm_id[0];
}

static void replace(struct fixture *fixture)
{
	struct err err = { 0 };

	close_fd(&fixture->fd);
	if (lane_process_replace(&fixture->lane, &fixture->fd, &err) < 0)
		fail_msg("%s", err.msg);
}

static void test_it_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	pid_t first = fixture->lane.pid, ended;

	assert_true(serves(fixture));
	assert_int_equal(kill(first, SIGTERM), 0); /* not for a lane to follow: its engine drains */
	assert_true(serves(fixture));
	assert_int_equal(kill(first, SIGSTOP), 0);
	replace(fixture);
	assert_true(fixture->lane.pid != first);
	assert_int_equal(kill(first, 0), -1);
	assert_true(serves(fixture));
	ended = fixture->lane.pid;
	assert_int_equal(kill(ended, SIGKILL), 0);
	assert_int_equal(waitpid(ended, NULL, 0), ended);
	assert_true(lane_process_has_ended(&fixture->lane, ended));
	assert_false(lane_process_has_ended(&fixture->lane, ended));
	replace(fixture);
	assert_true(serves(fixture));
}

/* Processes that no signal ends are not to be had here: their numbers stand for them. */
static void test_too_many_that_hang(void **state)
{
	struct fixture *fixture = *state;
	struct err err = { 0 };

	for (int i = 0; i < LANE_STUCK_MAX; i++)
		fixture->lane.stuck[i] = 100000000 + i;
	assert_int_equal(lane_process_replace(&fixture->lane, &fixture->fd, &err), -EBUSY);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_int_equal(fixture->lane.pid, 0);
	assert_false(lane_process_has_ended(&fixture->lane, 100000000 + LANE_STUCK_MAX));
	assert_true(lane_process_has_ended(&fixture->lane, 100000003));
	replace(fixture);
	assert_true(serves(fixture));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(it_is_replaced), TEST(too_many_that_hang) };

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
