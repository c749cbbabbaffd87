/* A lane that answers, fails, dies, hangs, talks nonsense or is replaced, played by the other end of a socket; and what travels:
 * descriptors and secrets, both ways. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "lane/client.h"
#include "lane/datagram.h"
#include "tests/support/turn.h"

#define ID "0b6c1f0e-6a51-4d5f-9d7b-0d3b5f0c9a11"
#define PATIENT_MS 3600000
#define HASTY_MS   50
#define KEY "0123456789abcdef"

struct fixture {
	struct event_base *base;
	struct lane_client *client;
	struct secret *buffer;
	int lane_fd;
	uint64_t seq; /* of the last request */
	struct lane_request request;
	unsigned n_wanted;
	unsigned n_done, n_failed, n_unanswered, n_replaced;
	int errnum;
	struct drive drive;
};

static void on_replace(void *ctx)
{
	struct fixture *fixture = ctx;

	fixture->n_replaced++;
}

static void on_answer(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct fixture *fixture = ctx;

	fixture->n_done += !err;
	fixture->n_failed += reply && err;
	fixture->n_unanswered += !reply;
	fixture->errnum = err ? err->errnum : 0;
	if (!err && reply->op == LANE_OP_DISK_FORMAT)
		lane_reply_take_drive(reply, &fixture->drive);
}

static void attach(struct fixture *fixture)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	close_fd(&fixture->lane_fd);
	fixture->lane_fd = pair[1];
	lane_client_attach(fixture->client, pair[0]);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;

	assert_non_null(fixture);
	fixture->lane_fd = -1;
	fixture->base = event_base_new();
	fixture->client = lane_client_new(fixture->base, "test", on_replace, fixture);
	assert_non_null(fixture->client);
	assert_int_equal(secret_new(LANE_DATAGRAM_MAX, &fixture->buffer, &err), 0);
	attach(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	lane_client_free(fixture->client);
	lane_request_clear(&fixture->request);
	drive_clear(&fixture->drive);
	secret_free(fixture->buffer);
	close_fd(&fixture->lane_fd);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

static bool is_answered(const void *ctx)
{
	const struct fixture *fixture = ctx;

	return fixture->n_done + fixture->n_failed + fixture->n_unanswered >= fixture->n_wanted;
}

static void await(struct fixture *fixture, unsigned n)
{
	fixture->n_wanted = n;
	turn_until(fixture->base, is_answered, fixture);
	assert_int_equal(fixture->n_done + fixture->n_failed + fixture->n_unanswered, n);
}

static void call(struct fixture *fixture, enum lane_op op, uint64_t in_ms)
{
	struct lane_request request = { .op = op, .deadline_boot_ms = clock_boot_ms() + in_ms };

	memcpy(request.of.vm.vm_id, ID, sizeof(ID));
	if (op == LANE_OP_DISK_FORMAT) {
		request.of.disk_format.form = DISK_FORM_LUKS1;
		request.of.disk_format.disk_mib = 64;
	}
	assert_int_equal(lane_client_call(fixture->client, &request, on_answer, fixture), 0);
}

static void turn(struct fixture *fixture)
{
	assert_true(event_base_loop(fixture->base, EVLOOP_NONBLOCK) >= 0);
}

static void hear(struct fixture *fixture)
{
	struct err err = { 0 };

	turn(fixture); /* a call is sent in a turn of its own */
	lane_request_clear(&fixture->request);
	if (lane_receive_request(fixture->lane_fd, fixture->buffer, &fixture->request, &fixture->seq, &err) < 0)
		fail_msg("%s", err.msg);
}

static void answer(struct fixture *fixture, const struct err *fault)
{
	struct lane_reply reply = { .op = fixture->request.op };
	struct err err;

	assert_int_equal(lane_send_reply(fixture->lane_fd, fixture->buffer, &reply, fault, fixture->seq, &err), 0);
}

static struct secret *make_key(const char *text)
{
	struct secret *key;
	struct err err;

	assert_int_equal(secret_new(strlen(text), &key, &err), 0);
	memcpy(secret_data(key), text, strlen(text));
	return key;
}

static bool is_key(const struct secret *secret)
{
	return secret && secret_len(secret) == strlen(KEY) && memcmp(secret_peek(secret), KEY, strlen(KEY)) == 0;
}

static void test_answers_come_once_and_in_order(void **state)
{
	const struct err fault = { .kind = ERR_HOST, .errnum = EBUSY, .msg = "no" };
	struct fixture *fixture = *state;

	call(fixture, LANE_OP_DISK_ERASE, PATIENT_MS);
	call(fixture, LANE_OP_VM_DESTROY, PATIENT_MS);
	assert_int_equal(fixture->n_done, 0); /* never from inside a call */
	hear(fixture);
	assert_int_equal(fixture->request.op, LANE_OP_DISK_ERASE);
	assert_string_equal(fixture->request.of.vm.vm_id, ID);
	answer(fixture, NULL);
	await(fixture, 1);
	assert_int_equal(fixture->n_done, 1);
	hear(fixture);
	assert_int_equal(fixture->request.op, LANE_OP_VM_DESTROY);
	answer(fixture, &fault);
	await(fixture, 2);
	assert_int_equal(fixture->n_failed, 1);
	assert_int_equal(fixture->errnum, EBUSY);
	assert_int_equal(fixture->n_replaced, 0);
}

static void test_a_disk_comes_with_its_key(void **state)
{
	cleanup_(lane_reply_clear) struct lane_reply reply = { .op = LANE_OP_DISK_FORMAT, .of.disk_format.drive = DRIVE_FILE };
	struct fixture *fixture = *state;
	struct err err;

	call(fixture, LANE_OP_DISK_FORMAT, PATIENT_MS);
	hear(fixture);
	reply.secret = make_key(KEY);
	reply.fds[reply.n_fds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(lane_send_reply(fixture->lane_fd, fixture->buffer, &reply, NULL, fixture->seq, &err), 0);
	await(fixture, 1);
	assert_int_equal(fixture->drive.kind, DRIVE_FILE);
	assert_true(fixture->drive.fd >= 0 && is_key(fixture->drive.of.file.key));
	for (size_t i = 0; i < LANE_DATAGRAM_MAX; i++)
		assert_int_equal(secret_peek(fixture->buffer)[i], 0); /* wiped */
}

/* What it lent is the caller's again at once: the client sends copies. */
static void test_a_request_takes_a_disk_along(void **state)
{
	struct fixture *fixture = *state;
	struct lane_request request = { .op = LANE_OP_VM_START,
					.deadline_boot_ms = clock_boot_ms() + PATIENT_MS,
					.of.vm_start = { .vm_id = ID, .image = "base", .launcher = LAUNCHER_QEMU, .drive = DRIVE_FILE,
							 .cpus = 1, .memory_mib = 128, .disk_mib = 64 },
					.secret = make_key(KEY),
					.fds = { open("/dev/null", O_RDWR | O_CLOEXEC) },
					.n_fds = 1 };

	assert_int_equal(lane_client_call(fixture->client, &request, on_answer, fixture), 0);
	lane_request_clear(&request);
	hear(fixture);
	assert_int_equal(fixture->request.n_fds, 1);
	assert_true(fcntl(fixture->request.fds[0], F_GETFD) >= 0);
	assert_true(is_key(fixture->request.secret));
}

static void test_only_what_was_sent_is_lost_with_a_lane(void **state)
{
	struct fixture *fixture = *state;

	call(fixture, LANE_OP_DISK_ERASE, PATIENT_MS);
	call(fixture, LANE_OP_VM_DESTROY, PATIENT_MS);
	hear(fixture);
	close_fd(&fixture->lane_fd);
	await(fixture, 1);
	assert_int_equal(fixture->n_unanswered, 1);
	assert_int_equal(fixture->n_replaced, 1);
	attach(fixture);
	hear(fixture);
	assert_int_equal(fixture->request.op, LANE_OP_VM_DESTROY);
	answer(fixture, NULL);
	await(fixture, 2);
	assert_int_equal(fixture->n_done, 1);
	assert_int_equal(fixture->n_replaced, 1);
}

static void test_one_that_hangs_is_lost_at_the_deadline(void **state)
{
	struct fixture *fixture = *state;

	call(fixture, LANE_OP_DISK_ERASE, HASTY_MS);
	hear(fixture);
	await(fixture, 1);
	assert_int_equal(fixture->n_unanswered, 1);
	assert_int_equal(fixture->errnum, ETIMEDOUT);
	assert_int_equal(fixture->n_replaced, 1);
	call(fixture, LANE_OP_DISK_ERASE, HASTY_MS); /* there is none now: that is no other loss */
	await(fixture, 2);
	assert_int_equal(fixture->n_unanswered, 2);
	assert_int_equal(fixture->errnum, ETIME);
	assert_int_equal(fixture->n_replaced, 1);
}

/* Its lane does nothing wrong. */
static void test_who_waits_too_long_is_told(void **state)
{
	struct fixture *fixture = *state;

	call(fixture, LANE_OP_DISK_ERASE, PATIENT_MS);
	call(fixture, LANE_OP_VM_DESTROY, HASTY_MS);
	hear(fixture);
	await(fixture, 1);
	assert_int_equal(fixture->errnum, ETIME);
	assert_int_equal(fixture->n_replaced, 0);
	answer(fixture, NULL);
	await(fixture, 2);
	assert_int_equal(fixture->n_done, 1);
}

static void send_raw(struct fixture *fixture, enum lane_op op, uint64_t seq)
{
	struct lane_reply reply = { .op = op };
	struct err err;

	assert_int_equal(lane_send_reply(fixture->lane_fd, fixture->buffer, &reply, NULL, seq, &err), 0);
}

static void test_nonsense_is_the_end_of_a_lane(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 4; i++) {
		call(fixture, LANE_OP_DISK_ERASE, PATIENT_MS);
		hear(fixture);
		if (i == 0)
			send_raw(fixture, LANE_OP_DISK_ERASE, fixture->seq + 1); /* another request's */
		else if (i == 1)
			send_raw(fixture, LANE_OP_VM_DESTROY, fixture->seq); /* another operation's */
		else if (i == 2)
			assert_int_equal(send(fixture->lane_fd, "nonsense", 8, 0), 8);
		else
			assert_int_equal(send(fixture->lane_fd, (char[2 * LANE_DATAGRAM_MAX]){ 0 }, 2 * LANE_DATAGRAM_MAX, 0),
					 2 * LANE_DATAGRAM_MAX);
		await(fixture, i + 1);
		assert_int_equal(fixture->n_unanswered, i + 1);
		assert_int_equal(fixture->n_replaced, i + 1);
		attach(fixture);
	}
}

static void test_what_waits_ends_with_the_client(void **state)
{
	struct fixture *fixture = *state;

	call(fixture, LANE_OP_DISK_ERASE, PATIENT_MS);
	call(fixture, LANE_OP_VM_DESTROY, PATIENT_MS);
	turn(fixture);
	lane_client_free(TAKE_PTR(fixture->client));
	assert_int_equal(fixture->n_done + fixture->n_failed + fixture->n_unanswered, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_come_once_and_in_order),
		TEST(a_disk_comes_with_its_key),
		TEST(a_request_takes_a_disk_along),
		TEST(only_what_was_sent_is_lost_with_a_lane),
		TEST(one_that_hangs_is_lost_at_the_deadline),
		TEST(who_waits_too_long_is_told),
		TEST(nonsense_is_the_end_of_a_lane),
		TEST(what_waits_ends_with_the_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
