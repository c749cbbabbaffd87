/* The reaper's scripts against a real redis-server, beside a worker's: who holds a lease when, and who does not any
 * more. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/lease.h"
#include "bus/reap.h"
#include "tests/support/redis_server.h"
#include "tests/support/turn.h"

#define LEASE_MS      1500
#define GRACE_MS      100
#define LOST_AFTER_MS 3600000
#define FAR_MS	      32503680000000ull /* a life of a thousand years */

struct fixture {
	struct redis_server server;
	struct event_base *base;
	struct leases *worker;
	struct reap *a, *b;
	unsigned n_usable;
};

struct answer {
	bool is_there, is_known;
	struct lease_grant grant;
	struct reap_scan scan;
	struct reap_lease leases[REAP_SCAN_MAX];
	int64_t numbers[REAP_BATCH_MAX];
	struct reap_found found[REAP_BATCH_MAX];
	size_t n;
};

static const struct lease_source source = { { "t.tasks", 3, 100 }, "0123456789abcdef0123456789abcdef", NULL };

static const struct lease_workspace workspace = { .vm_id = "vm-1", .tenant = "tenant-1", .ttl_ms = FAR_MS };

static void on_change(void *ctx, const struct reap_server *server, const char *why)
{
	struct fixture *fixture = ctx;

	(void)why;
	fixture->n_usable += server != NULL;
}

static struct reap *open_reap(struct fixture *fixture, const char *owner)
{
	const struct reap_config config = { .redis_host = "127.0.0.1",
					    .redis_port = fixture->server.port,
					    .prefix = "t",
					    .owner = owner,
					    .host = "h1",
					    .lease_ms = LEASE_MS,
					    .grace_ms = GRACE_MS,
					    .lost_after_ms = LOST_AFTER_MS };
	struct reap *reap;
	struct err err;

	assert_int_equal(reap_new(fixture->base, &config, on_change, fixture, &reap, &err), 0);
	return reap;
}

static bool is_ready(const void *ctx)
{
	const struct fixture *fixture = ctx;

	return fixture->n_usable >= 2 && leases_are_connected(fixture->worker);
}

static const char *const topics[] = { "t.tasks" };

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct lease_config config = { .redis_host = "127.0.0.1",
				       .prefix = "t",
				       .owner = "w1.start",
				       .host = "h1",
				       .topics = topics,
				       .n_topics = 1,
				       .lease_ms = LEASE_MS,
				       .max_attempts = 3 };
	struct err err;

	redis_server_start(&fixture->server);
	config.redis_port = fixture->server.port;
	fixture->base = event_base_new();
	assert_int_equal(leases_new(fixture->base, &config, &fixture->worker, &err), 0);
	fixture->a = open_reap(fixture, "reaper.a");
	fixture->b = open_reap(fixture, "reaper.b");
	turn_until(fixture->base, is_ready, fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	leases_free(fixture->worker);
	reap_free(fixture->a);
	reap_free(fixture->b);
	event_base_free(fixture->base);
	redis_server_kill(&fixture->server);
	free(fixture);
	return 0;
}

static bool is_answered(const void *ctx)
{
	return ((const struct answer *)ctx)->is_there;
}

static void wait_answer(struct fixture *fixture, const struct answer *answer)
{
	turn_until(fixture->base, is_answered, answer);
}

static void on_grant(void *ctx, const struct lease_grant *grant)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	answer->grant = *grant;
}

static struct lease_grant claim(struct fixture *fixture, const char *id)
{
	struct answer answer = { .is_there = false };

	lease_claim(fixture->worker, id, &source, &workspace, on_grant, &answer);
	wait_answer(fixture, &answer);
	return answer.grant;
}

static enum lease_verdict renew(struct fixture *fixture, const char *id, uint64_t token)
{
	struct answer answer = { .is_there = false };

	lease_renew(fixture->worker, id, token, on_grant, &answer);
	wait_answer(fixture, &answer);
	return answer.grant.verdict;
}

static void on_scan(void *ctx, const struct reap_scan *scan)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	assert_non_null(scan);
	answer->scan = *scan;
	memcpy(answer->leases, scan->leases, scan->n * sizeof(*scan->leases));
}

static void on_numbers(void *ctx, const int64_t *numbers)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	assert_non_null(numbers);
	memcpy(answer->numbers, numbers, answer->n * sizeof(*numbers));
}

static void on_found(void *ctx, const struct reap_found *found)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	assert_non_null(found);
	memcpy(answer->found, found, answer->n * sizeof(*found));
}

/* The one lease there is, once it is due. */
static struct reap_lease wait_due(struct fixture *fixture, struct reap *reap)
{
	static struct answer answer;

	do {
		answer.is_there = false;
		(void)usleep(20000); /* leave the processor to the others */
		reap_scan(reap, on_scan, &answer);
		wait_answer(fixture, &answer);
	} while (answer.scan.n == 0);
	assert_int_equal(answer.scan.n, 1);
	assert_int_equal(answer.scan.n_all, 1);
	assert_true(answer.leases[0].due_ms + GRACE_MS < answer.scan.now_ms);
	return answer.leases[0];
}

static int64_t take(struct fixture *fixture, struct reap *reap, const struct reap_lease *lease)
{
	static struct answer answer;

	answer = (struct answer){ .n = 1 };
	reap_take(reap, lease, 1, on_numbers, &answer);
	wait_answer(fixture, &answer);
	return answer.numbers[0];
}

static int64_t settle(struct fixture *fixture, struct reap *reap, const char *id, int64_t token, enum reap_verb verb)
{
	const struct reap_settlement settlement = { .id = id, .token = (uint64_t)token, .verb = verb };
	static struct answer answer;

	answer = (struct answer){ .n = 1 };
	reap_settle(reap, &settlement, 1, on_numbers, &answer);
	wait_answer(fixture, &answer);
	return answer.numbers[0];
}

static struct reap_found find(struct fixture *fixture, const char *vm_id)
{
	static struct answer answer;

	answer = (struct answer){ .n = 1 };
	reap_find(fixture->a, &vm_id, 1, on_found, &answer);
	wait_answer(fixture, &answer);
	return answer.found[0];
}

static int64_t note(struct fixture *fixture, const char *vm_id)
{
	static struct answer answer;

	answer = (struct answer){ .n = 1 };
	reap_note(fixture->a, &vm_id, 1, on_numbers, &answer);
	wait_answer(fixture, &answer);
	return answer.numbers[0];
}

static const char *line(struct fixture *fixture, const char *id)
{
	return redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:%s", id);
}

static void test_worker_is_out_once_it_is_taken(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, "x");
	struct reap_lease lease = wait_due(fixture, fixture->a), other = lease;
	int64_t token;

	assert_int_equal(lease.state, REAP_STATE_RUNNING);
	assert_int_equal(lease.token, grant.token);
	assert_string_equal(lease.owner, "w1.start");
	other.token++; /* as seen before it was claimed anew */
	assert_int_equal(take(fixture, fixture->a, &other), 0);
	token = take(fixture, fixture->a, &lease);
	assert_true(token > (int64_t)grant.token);
	assert_int_equal(renew(fixture, "x", grant.token), LEASE_VERDICT_GONE);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_REAPING);
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_ORPHAN), 1);
	grant = claim(fixture, "x");
	assert_int_equal(grant.verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(grant.attempt, 2);
}

static void test_a_renewal_before_the_taking_wins(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, "x");
	struct reap_lease lease = wait_due(fixture, fixture->a);

	assert_int_equal(renew(fixture, "x", grant.token), LEASE_VERDICT_DONE);
	assert_int_equal(take(fixture, fixture->a, &lease), 0);
	assert_int_equal(renew(fixture, "x", grant.token), LEASE_VERDICT_DONE);
}

static void test_one_of_two_reapers_takes_it(void **state)
{
	struct fixture *fixture = *state;
	struct reap_lease lease;
	int64_t token;

	(void)claim(fixture, "x");
	lease = wait_due(fixture, fixture->a);
	token = take(fixture, fixture->a, &lease);
	assert_true(token > 0);
	assert_int_equal(take(fixture, fixture->b, &lease), 0);
	assert_int_equal(settle(fixture, fixture->b, "x", token, REAP_VERB_DELETE), 0); /* another's */
	assert_int_equal(settle(fixture, fixture->a, "x", token - 1, REAP_VERB_DELETE), 0);
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_DELETE), 1);
	assert_string_equal(redis_server_ask(&fixture->server, "EXISTS t:{mayfly}:lease:x t:{mayfly}:deadlines"), "0");
}

static void test_an_abandoned_reaping_is_taken_over(void **state)
{
	struct fixture *fixture = *state;
	struct reap_lease lease;
	int64_t first, second;

	(void)claim(fixture, "x");
	lease = wait_due(fixture, fixture->a);
	first = take(fixture, fixture->a, &lease);
	lease = wait_due(fixture, fixture->b);
	assert_int_equal(lease.state, REAP_STATE_REAPING);
	assert_string_equal(lease.victim, "w1.start");
	second = take(fixture, fixture->b, &lease);
	assert_true(second > first);
	assert_int_equal(settle(fixture, fixture->a, "x", first, REAP_VERB_ORPHAN), 0);
	assert_int_equal(settle(fixture, fixture->b, "x", second, REAP_VERB_ENDED), 1);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_ENDED);
}

static void test_ended_told_gone(void **state)
{
	uint64_t before_ms = clock_wall_ms(), told_ms;
	struct fixture *fixture = *state;
	struct reap_lease lease;
	int64_t token;

	(void)claim(fixture, "x");
	lease = wait_due(fixture, fixture->a);
	token = take(fixture, fixture->a, &lease);
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_ENDED), 1);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_ENDED); /* marked done now, nobody would tell it */
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_TOLD), 1);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_TOLD);
	lease = wait_due(fixture, fixture->b);
	assert_int_equal(lease.state, REAP_STATE_TOLD);
	told_ms = lease.expires_ms;
	assert_in_range(told_ms, before_ms, clock_wall_ms());
	token = take(fixture, fixture->b, &lease);
	assert_int_equal(settle(fixture, fixture->b, "x", token, REAP_VERB_TOLD), 1);
	lease = wait_due(fixture, fixture->b);
	assert_int_equal(lease.state, REAP_STATE_TOLD);
	assert_int_equal(lease.expires_ms, told_ms); /* looked at again: its age goes on */
	token = take(fixture, fixture->b, &lease);
	assert_int_equal(settle(fixture, fixture->b, "x", token, REAP_VERB_DELETE), 1);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_CLAIMED);
}

/* An orphan that is due was wanted by nobody: whoever takes it ends it, so that it is not claimed while its result is
 * told. */
static void test_taking_an_orphan_ends_it(void **state)
{
	struct fixture *fixture = *state;
	struct reap_lease lease;
	int64_t token;

	(void)claim(fixture, "x");
	lease = wait_due(fixture, fixture->a);
	token = take(fixture, fixture->a, &lease);
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_ORPHAN), 1);
	(void)redis_server_ask(&fixture->server, "ZADD t:{mayfly}:deadlines 1 x");
	lease = wait_due(fixture, fixture->a);
	assert_int_equal(lease.state, REAP_STATE_ORPHAN);
	assert_true(take(fixture, fixture->a, &lease) > 0);
	assert_int_equal(claim(fixture, "x").verdict, LEASE_VERDICT_ENDED);
}

/* What was taken has the expires_ms that its taker says; an orphan waits for a worker, whatever its workspace's life was. */
static void test_an_orphan_has_no_life_to_end(void **state)
{
	struct fixture *fixture = *state;
	struct reap_lease lease;
	int64_t token;

	(void)claim(fixture, "x");
	lease = wait_due(fixture, fixture->a);
	lease.expires_ms = 12345;
	token = take(fixture, fixture->a, &lease);
	assert_non_null(strstr(line(fixture, "x"), " 12345 t.tasks"));
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_ORPHAN), 1);
	assert_true(strtoull(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines x"), NULL, 10) >
		    lease.due_ms + LOST_AFTER_MS / 2);
}

/* What a sweep finds on this host, through the life of a lease. */
static void test_finding(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, "x");
	struct reap_lease lease;
	int64_t token;

	assert_int_equal(find(fixture, "vm-1").hold, REAP_HOLD_FREE); /* no entry before the first renewal */
	assert_int_equal(renew(fixture, "x", grant.token), LEASE_VERDICT_DONE);
	assert_int_equal(find(fixture, "vm-1").hold, REAP_HOLD_HELD);
	assert_string_equal(find(fixture, "vm-1").id, "x");
	assert_int_equal(find(fixture, "vm-2").hold, REAP_HOLD_FREE);
	(void)redis_server_ask(&fixture->server, "DEL t:{mayfly}:vms:h1");
	lease = wait_due(fixture, fixture->a);
	token = take(fixture, fixture->a, &lease);
	assert_int_equal(find(fixture, "vm-1").hold, REAP_HOLD_HELD); /* its taking wrote the entry again: the reaper is at it */
	assert_int_equal(settle(fixture, fixture->a, "x", token, REAP_VERB_ORPHAN), 1);
	assert_int_equal(find(fixture, "vm-1").hold, REAP_HOLD_FREE);
	assert_string_equal(find(fixture, "vm-1").id, "x");
}

/* What could not be erased with its lease is erased later: the line that still names it says so for the result. */
static void test_noting(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, "x");
	struct reap_lease lease;

	assert_int_equal(renew(fixture, "x", grant.token), LEASE_VERDICT_DONE);
	lease = wait_due(fixture, fixture->a);
	assert_int_equal(settle(fixture, fixture->a, "x", take(fixture, fixture->a, &lease), REAP_VERB_ORPHAN), 1);
	assert_int_equal(note(fixture, "vm-2"), 0);
	assert_null(strstr(line(fixture, "x"), "destroyed"));
	assert_int_equal(note(fixture, "vm-1"), 1);
	assert_non_null(strstr(line(fixture, "x"), " w1.start destroyed "));
	assert_int_equal(claim(fixture, "x").attempt, 2); /* of another workspace, were its vm_id another */
	assert_null(strstr(line(fixture, "x"), "destroyed"));
}

/* A deadline whose lease is gone is forgotten; a line that is none of ours stops nobody. */
static void test_odd_members(void **state)
{
	struct fixture *fixture = *state;
	static struct answer answer;

	answer = (struct answer){ .is_there = false };
	(void)redis_server_ask(&fixture->server, "ZADD t:{mayfly}:deadlines 1 nothing 2 odd 3 not/an/id");
	(void)redis_server_ask(&fixture->server, "SET t:{mayfly}:lease:odd junk");
	reap_scan(fixture->a, on_scan, &answer);
	wait_answer(fixture, &answer);
	assert_int_equal(answer.scan.n, 0);
	assert_string_equal(redis_server_ask(&fixture->server, "ZRANGE t:{mayfly}:deadlines 0 -1"), "odd");
}

/* More of them than one look shows, and due before everything else: a lease has its turn all the same, and so have they. */
static void test_what_is_no_lease_hides_none(void **state)
{
	struct fixture *fixture = *state;
	static struct answer answer;
	bool is_seen = false;

	(void)redis_server_ask(&fixture->server,
			       "EVAL for\tn=1,700\tdo\tredis.call('ZADD',KEYS[1],n,'odd'..n)redis.call('SET',KEYS[2]..n,'junk')end 2 "
			       "t:{mayfly}:deadlines t:{mayfly}:lease:odd");
	(void)redis_server_ask(&fixture->server, "DEL t:{mayfly}:lease:odd7");
	(void)redis_server_ask(&fixture->server, "RPUSH t:{mayfly}:lease:odd7 not a string");
	(void)claim(fixture, "good");
	for (int i = 0; i < 1000 && !is_seen; i++) {
		answer = (struct answer){ .is_there = false };
		(void)usleep(10000);
		reap_scan(fixture->a, on_scan, &answer);
		wait_answer(fixture, &answer);
		for (size_t j = 0; j < answer.scan.n; j++)
			is_seen |= strcmp(answer.leases[j].id, "good") == 0;
	}
	assert_true(is_seen);
	assert_string_equal(redis_server_ask(&fixture->server, "ZCARD t:{mayfly}:deadlines"), "701");
	assert_string_equal(redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:odd8"), "junk");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(worker_is_out_once_it_is_taken),
		TEST(a_renewal_before_the_taking_wins),
		TEST(one_of_two_reapers_takes_it),
		TEST(an_abandoned_reaping_is_taken_over),
		TEST(ended_told_gone),
		TEST(taking_an_orphan_ends_it),
		TEST(an_orphan_has_no_life_to_end),
		TEST(finding),
		TEST(noting),
		TEST(odd_members),
		TEST(what_is_no_lease_hides_none),
	};

	log_init("reap-test", LOG_LEVEL_COUNT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
