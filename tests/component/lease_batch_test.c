/* Many leases in one call, and calls whose answers get lost: a redis-server that dies, hangs, forgets or is full. */
#include "tests/support/lease_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define MANY 500

static void test_many_in_one_turn(void **state)
{
	static struct answer answers[MANY];
	struct fixture *fixture = *state;
	char id[16];

	memset(answers, 0, sizeof(answers));
	(void)redis_server_ask(&fixture->server, "CONFIG RESETSTAT");
	for (int i = 0; i < MANY; i++) {
		struct lease_source source = { { "mayfly.tasks", i % 8, i }, CONTENT, NULL };

		(void)snprintf(id, sizeof(id), "id-%d", i);
		lease_claim(fixture->leases, id, &source, &workspace, on_answer, &answers[i]);
	}
	for (int i = MANY - 1; i >= 0; i--)
		turn_until(fixture->base, is_answered, &answers[i]);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(answers[i].n, 1);
		assert_int_equal(answers[i].grant.verdict, LEASE_VERDICT_CLAIMED);
		assert_true(i == 0 || answers[i].grant.token > answers[i - 1].grant.token);
	}
	assert_string_equal(redis_server_ask(&fixture->server, "ZCARD t:{mayfly}:deadlines"), "500");
	/* 500 claims in 8 calls (64 each), or 16 when each has to bring its script along. */
	assert_true(count_of(fixture, "cmdstat_evalsha") + count_of(fixture, "cmdstat_eval") <= 16);
	for (int i = 0; i < MANY; i++) {
		uint64_t token = answers[i].grant.token;

		answers[i].is_there = false;
		(void)snprintf(id, sizeof(id), "id-%d", i);
		lease_finish(fixture->leases, id, token, on_answer, &answers[i]);
	}
	for (int i = 0; i < MANY; i++)
		turn_until(fixture->base, is_answered, &answers[i]);
	assert_string_equal(redis_server_ask(&fixture->server, "DBSIZE"), "1"); /* the token */
}

/* The same id twice in one script call. */
static void test_twice_in_one_batch(void **state)
{
	struct fixture *fixture = *state;
	struct answer answers[4] = { 0 };

	lease_claim(fixture->leases, "a", &source_1, &workspace, on_answer, &answers[0]);
	lease_claim(fixture->leases, "a", &source_1, &workspace, on_answer, &answers[1]);
	lease_claim(fixture->leases, "a", &source_2, &workspace, on_answer, &answers[2]);
	lease_claim(fixture->leases, "a", &source_other, &workspace, on_answer, &answers[3]);
	turn_until(fixture->base, is_answered, &answers[3]);
	assert_int_equal(answers[0].grant.verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(answers[1].grant.verdict, LEASE_VERDICT_RUNNING);
	check_holder(answers[2].grant, LEASE_VERDICT_DUPLICATE);
	check_holder(answers[3].grant, LEASE_VERDICT_CONFLICT);
}

static void test_forgotten_is_not_answered(void **state)
{
	struct fixture *fixture = *state;
	struct answer forgotten = { 0 }, kept = { 0 };

	lease_claim(fixture->leases, "a", &source_1, &workspace, on_answer, &forgotten);
	lease_claim(fixture->leases, "b", &source_2, &workspace, on_answer, &kept);
	lease_forget(fixture->leases, &forgotten);
	turn_until(fixture->base, is_answered, &kept);
	assert_false(forgotten.is_there);
	assert_int_equal(claim(fixture, fixture->others, "a", &source_1).verdict, LEASE_VERDICT_RUNNING); /* yet made */
}

/* SCRIPT FLUSH: the server knows the digest no more. */
static void test_script_is_sent_again(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED);
	assert_string_equal(redis_server_ask(&fixture->server, "SCRIPT FLUSH"), "OK");
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_1).verdict, LEASE_VERDICT_CLAIMED);
}

static void test_tokens_grow_when_redis_forgets(void **state)
{
	struct fixture *fixture = *state;
	uint64_t token = claim(fixture, fixture->leases, "a", &source_1).token;

	assert_string_equal(redis_server_ask(&fixture->server, "FLUSHALL"), "OK");
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", token), LEASE_VERDICT_GONE);
	assert_true(claim(fixture, fixture->leases, "a", &source_1).token > token);
}

/* As after the clock of Redis's machine went back a year. */
static void test_tokens_grow_when_the_clock_goes_back(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ahead = clock_wall_ms() * 1000 + 31536000000000ull;

	(void)redis_server_ask(&fixture->server, "SET t:{mayfly}:token %llu", (unsigned long long)ahead);
	assert_true(claim(fixture, fixture->leases, "a", &source_1).token > ahead);
	assert_true(claim(fixture, fixture->leases, "b", &source_1).token > ahead + 1);
}

static void test_server_dies_and_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	redis_server_kill(&fixture->server);
	turn_until(fixture->base, is_lost, fixture->leases);
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_2).verdict, LEASE_VERDICT_UNKNOWN);
	redis_server_start(&fixture->server);
	turn_until(fixture->base, is_connected, fixture->leases);
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token),
			 LEASE_VERDICT_GONE); /* forgot all */
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED);
}

/* Requests are on their way when the server dies: each is answered once, and nothing is known. */
static void test_server_dies_in_the_middle(void **state)
{
	struct fixture *fixture = *state;
	struct answer answers[20] = { 0 };
	char id[16];

	assert_int_equal(kill(fixture->server.pid, SIGSTOP), 0);
	for (int i = 0; i < 20; i++) {
		(void)snprintf(id, sizeof(id), "id-%d", i);
		lease_claim(fixture->leases, id, &source_1, &workspace, on_answer, &answers[i]);
		if (i % 7 == 0)
			assert_int_equal(event_base_loop(fixture->base, EVLOOP_NONBLOCK), 0);
	}
	redis_server_kill(&fixture->server);
	for (int i = 0; i < 20; i++) {
		turn_until(fixture->base, is_answered, &answers[i]);
		assert_int_equal(answers[i].grant.verdict, LEASE_VERDICT_UNKNOWN);
		assert_int_equal(answers[i].n, 1);
	}
}

/* A server that is there but says nothing: UNKNOWN within a third of the lease, and a late answer is never another's. */
static void test_server_hangs(void **state)
{
	struct fixture *fixture = *state;
	struct answer hung = { 0 };

	assert_int_equal(kill(fixture->server.pid, SIGSTOP), 0);
	lease_claim(fixture->leases, "a", &source_1, &workspace, on_answer, &hung);
	turn_until(fixture->base, is_answered, &hung);
	assert_int_equal(hung.grant.verdict, LEASE_VERDICT_UNKNOWN);
	assert_int_equal(kill(fixture->server.pid, SIGCONT), 0);
	turn_until(fixture->base, is_connected, fixture->leases);
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_2).verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(hung.n, 1);
}

static bool is_gone(const void *ctx)
{
	const struct fixture *fixture = ctx;

	return strcmp(redis_server_ask(&fixture->server, "EXISTS t:{mayfly}:lease:a t:{mayfly}:deadlines"), "0") == 0;
}

/* The claim is granted when nobody listens any more; it is given back, so that it does not run out as if its worker
 * had died. */
static void test_a_claim_whose_answer_got_lost_is_undone(void **state)
{
	struct fixture *fixture = *state;
	struct answer lost = { 0 };

	assert_int_equal(claim(fixture, fixture->others, "b", &source_2).verdict, LEASE_VERDICT_CLAIMED);
	(void)redis_server_ask(&fixture->server, "CONFIG RESETSTAT");
	assert_int_equal(kill(fixture->server.pid, SIGSTOP), 0);
	lease_claim(fixture->leases, "a", &source_1, &workspace, on_answer, &lost);
	turn_until(fixture->base, is_answered, &lost);
	assert_int_equal(lost.grant.verdict, LEASE_VERDICT_UNKNOWN);
	assert_int_equal(kill(fixture->server.pid, SIGCONT), 0);
	turn_until(fixture->base, is_connected, fixture->leases);
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED); /* not RUNNING */
	assert_int_equal(count_of(fixture, "cmdstat_mset"), 2); /* it had been granted */
}

/* The finish never arrives; it is sent again when the connection is back, although nobody asks for it any more. */
static void test_a_lost_finish_is_sent_again(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_string_equal(redis_server_ask(&fixture->server, "CLIENT PAUSE %d ALL", LEASE_MS), "OK");
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_UNKNOWN);
	turn_until(fixture->base, is_gone, fixture);
}

static void test_full_redis_refuses(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_string_equal(redis_server_ask(&fixture->server, "CONFIG SET maxmemory 1"), "OK");
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_2).verdict, LEASE_VERDICT_UNKNOWN);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_DONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_in_one_turn),
		TEST(twice_in_one_batch),
		TEST(forgotten_is_not_answered),
		TEST(script_is_sent_again),
		TEST(tokens_grow_when_redis_forgets),
		TEST(tokens_grow_when_the_clock_goes_back),
		TEST(server_dies_and_comes_back),
		TEST(server_dies_in_the_middle),
		TEST(server_hangs),
		TEST(a_claim_whose_answer_got_lost_is_undone),
		TEST(a_lost_finish_is_sent_again),
		TEST(full_redis_refuses),
	};

	log_init("lease-batch-test", LOG_LEVEL_COUNT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
