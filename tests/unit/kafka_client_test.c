/* A Kafka process that answers, ends or says something else, played by the other end of a socket. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reaper/kafka_client.h"
#include "tests/support/turn.h"

struct fixture {
	struct event_base *base;
	struct kafka_client *client;
	int peer_fd;
	unsigned n_lost, n_replies;
	struct kafka_reply reply;
};

static void on_lost(void *ctx, const char *why)
{
	struct fixture *fixture = ctx;

	assert_true(strlen(why) > 0);
	fixture->n_lost++;
}

static void on_reply(void *ctx, const struct kafka_reply *reply)
{
	struct fixture *fixture = ctx;

	fixture->n_replies++;
	fixture->reply = *reply;
}

static int set_up_patient(void **state, unsigned patience_ms)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;
	int pair[2];

	assert_non_null(fixture);
	fixture->base = event_base_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fixture->peer_fd = pair[1];
	assert_int_equal(
		kafka_client_new(fixture->base, pair[0], patience_ms, on_lost, fixture, &fixture->client, &err), 0);
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_patient(state, 3600000);
}

static int set_up_hasty(void **state)
{
	return set_up_patient(state, 50);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	kafka_client_free(fixture->client);
	if (fixture->peer_fd >= 0)
		(void)close(fixture->peer_fd);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

static bool is_answered(const void *ctx)
{
	const struct fixture *fixture = ctx;

	return fixture->n_replies + fixture->n_lost > 0;
}

static void assert_answer(struct fixture *fixture, unsigned n_replies, unsigned n_lost)
{
	turn_until(fixture->base, is_answered, fixture);
	assert_int_equal(fixture->n_replies, n_replies);
	assert_int_equal(fixture->n_lost, n_lost);
	fixture->n_replies = fixture->n_lost = 0;
}

static struct kafka_reply serve(struct fixture *fixture, enum kafka_op op, uint32_t n)
{
	static struct kafka_request request;

	assert_int_equal(recv(fixture->peer_fd, &request, sizeof(request), 0), kafka_request_len(n));
	assert_int_equal(request.magic, KAFKA_REQUEST_MAGIC);
	assert_int_equal(request.op, op);
	assert_int_equal(request.n, n);
	return (struct kafka_reply){ .magic = KAFKA_REQUEST_MAGIC, .op = op, .n = n };
}

static void say(struct fixture *fixture, const struct kafka_reply *reply, size_t len)
{
	assert_int_equal(send(fixture->peer_fd, reply, len, 0), len);
}

static struct kafka_reply ask_of_two(struct fixture *fixture)
{
	static struct kafka_item items[2];

	kafka_client_call(fixture->client, KAFKA_OP_FENCE, items, 2, on_reply, fixture);
	return serve(fixture, KAFKA_OP_FENCE, 2);
}

static void test_an_answer(void **state)
{
	struct fixture *fixture = *state;
	struct kafka_reply reply = ask_of_two(fixture);

	reply.verdicts[0] = KAFKA_VERDICT_TOLD;
	reply.verdicts[1] = KAFKA_VERDICT_NOT_TOLD;
	say(fixture, &reply, sizeof(reply));
	assert_answer(fixture, 1, 0);
	assert_int_equal(fixture->reply.verdicts[0], KAFKA_VERDICT_TOLD);
	assert_int_equal(fixture->reply.verdicts[1], KAFKA_VERDICT_NOT_TOLD);
}

static void test_one_after_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct kafka_reply reply = ask_of_two(fixture);

	say(fixture, &reply, sizeof(reply));
	assert_answer(fixture, 1, 0);
	kafka_client_call(fixture->client, KAFKA_OP_TIDY, NULL, 0, on_reply, fixture);
	reply = serve(fixture, KAFKA_OP_TIDY, 0);
	(void)snprintf(reply.error, sizeof(reply.error), "no");
	say(fixture, &reply, sizeof(reply));
	assert_answer(fixture, 1, 0);
	assert_string_equal(fixture->reply.error, "no");
}

static void test_one_that_ends_is_lost(void **state)
{
	struct fixture *fixture = *state;

	(void)ask_of_two(fixture);
	(void)close(fixture->peer_fd);
	fixture->peer_fd = -1;
	assert_answer(fixture, 0, 1);
}

static void test_one_that_hangs_is_lost(void **state)
{
	struct fixture *fixture = *state;

	(void)ask_of_two(fixture);
	assert_answer(fixture, 0, 1);
}

static void test_what_nobody_asked_for_is_the_end_of_it(void **state)
{
	struct fixture *fixture = *state;
	const struct kafka_reply reply = { .magic = KAFKA_REQUEST_MAGIC };

	say(fixture, &reply, sizeof(reply));
	assert_answer(fixture, 0, 1);
}

static void lose_with(void **state, const struct kafka_reply *difference, size_t len)
{
	struct fixture *fixture = *state;
	struct kafka_reply reply = ask_of_two(fixture);

	for (size_t i = 0; i < sizeof(reply); i++)
		((uint8_t *)&reply)[i] ^= ((const uint8_t *)difference)[i];
	say(fixture, &reply, len);
	assert_answer(fixture, 0, 1);
	(void)tear_down(state);
	(void)set_up(state);
}

static void test_another_answer_is_none(void **state)
{
	struct kafka_reply same = { 0 }, unended = { 0 };

	memset(unended.error, 'x', sizeof(unended.error));
	lose_with(state, &same, sizeof(same) - 1);
	lose_with(state, &(struct kafka_reply){ .magic = 1 }, sizeof(same));
	lose_with(state, &(struct kafka_reply){ .op = KAFKA_OP_FENCE ^ KAFKA_OP_TELL }, sizeof(same));
	lose_with(state, &(struct kafka_reply){ .n = 1 }, sizeof(same));
	lose_with(state, &(struct kafka_reply){ .verdicts = { 0, KAFKA_VERDICT_COUNT } }, sizeof(same));
	lose_with(state, &unended, sizeof(same));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer),
		TEST(one_after_the_other),
		TEST(one_that_ends_is_lost),
		cmocka_unit_test_setup_teardown(test_one_that_hangs_is_lost, set_up_hasty, tear_down),
		TEST(what_nobody_asked_for_is_the_end_of_it),
		TEST(another_answer_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
