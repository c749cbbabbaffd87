/* Leases against a real redis-server: who gets what, fencing, batches, a server that dies and forgets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/lease.h"
#include "bus/lease_keys.h"
#include "bus/lease_scripts.h"
#include "bus/reap_reply.h"
#include "tests/support/redis_server.h"
#include "tests/support/turn.h"

#define LEASE_MS 3000
#define CONTENT	 "0123456789abcdef0123456789abcdef"
#define FAR_MS	 32503680000000ull /* the year 3000, or a life that long */

struct fixture {
	struct redis_server server;
	struct event_base *base;
	struct leases *leases; /* of owner w1 */
	struct leases *others; /* of owner w2 */
};

struct answer {
	bool is_there;
	unsigned n;
	struct lease_grant grant;
};

static const struct lease_source source_1 = { "mayfly.tasks", 3, 100, CONTENT, NULL };
static const struct lease_source source_other = { "mayfly.tasks", 4, 7, "ffffffffffffffffffffffffffffffff", NULL };
static const struct lease_source source_2 = { "mayfly.tasks", 3, 101, CONTENT, NULL };

static void on_answer(void *ctx, const struct lease_grant *grant)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	answer->n++;
	answer->grant = *grant;
}

static bool is_answered(const void *ctx)
{
	return ((const struct answer *)ctx)->is_there;
}

static bool is_connected(const void *ctx)
{
	return leases_are_connected(ctx);
}

static bool is_lost(const void *ctx)
{
	return !leases_are_connected(ctx);
}

static struct leases *open_leases(struct fixture *fixture, const char *owner, const char *host)
{
	const struct lease_config config = { .redis_host = "127.0.0.1",
					     .redis_port = fixture->server.port,
					     .prefix = "t",
					     .owner = owner,
					     .host = host,
					     .lease_ms = LEASE_MS,
					     .max_attempts = 2 };
	struct leases *leases;
	struct err err;

	assert_int_equal(leases_new(fixture->base, &config, &leases, &err), 0);
	turn_until(fixture->base, is_connected, leases);
	return leases;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	redis_server_start(&fixture->server);
	fixture->base = event_base_new();
	fixture->leases = open_leases(fixture, "w1.start", "h1");
	fixture->others = open_leases(fixture, "w2.start", "h2");
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	leases_free(fixture->leases);
	leases_free(fixture->others);
	event_base_free(fixture->base);
	redis_server_kill(&fixture->server);
	free(fixture);
	return 0;
}

static struct lease_grant claim(struct fixture *fixture, struct leases *leases, const char *id,
				const struct lease_source *source)
{
	struct answer answer = { 0 };

	lease_claim(leases, id, source, FAR_MS, 1, on_answer, &answer);
	assert_false(answer.is_there); /* never from inside the call */
	turn_until(fixture->base, is_answered, &answer);
	return answer.grant;
}

typedef void (*lease_call)(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);

static enum lease_verdict ask(struct fixture *fixture, struct leases *leases, lease_call call, const char *id,
			      uint64_t token)
{
	struct answer answer = { 0 };

	call(leases, id, token, on_answer, &answer);
	turn_until(fixture->base, is_answered, &answer);
	return answer.grant.verdict;
}

static void release(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	lease_release(leases, id, token, false, fn, ctx);
}

static void abandon(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	lease_abandon(leases, id, token, true, fn, ctx);
}

static unsigned long count_of(struct fixture *fixture, const char *stat)
{
	char name[64];
	const char *at;

	(void)snprintf(name, sizeof(name), "%s:calls=", stat);
	at = strstr(redis_server_ask(&fixture->server, "INFO commandstats"), name);
	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

/* Writes what a reaper would. */
static void set_state(struct fixture *fixture, const char *id, const char *state, const char *owner, unsigned attempt,
		      int offset)
{
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);
	char line[200];

	(void)snprintf(line, sizeof(line), "%s %s 7 %u h1 0 %llu mayfly.tasks 3 %d", state, owner, attempt, FAR_MS,
		       offset);
	freeReplyObject(redisCommand(redis, "SET t:{mayfly}:lease:%s %s", id, line));
	redisFree(redis);
}

/* What our script wrote is a lease to a reaper. */
/* The record that has the id is always source_1. */
static void check_holder(struct lease_grant grant, enum lease_verdict verdict)
{
	assert_int_equal(grant.verdict, verdict);
	assert_int_equal(grant.holder.partition, source_1.partition);
	assert_int_equal(grant.holder.offset, source_1.offset);
}

static void set_line(struct fixture *fixture, const char *id, const char *line)
{
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);

	freeReplyObject(redisCommand(redis, "SET t:{mayfly}:lease:%s %s", id, line));
	redisFree(redis);
}

static void check_line(struct fixture *fixture, const char *id, enum reap_state state, unsigned attempt)
{
	const char *line = redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:%s", id);
	struct reap_lease lease;
	struct err err;

	assert_int_equal(reap_line_parse(line, strlen(line), &lease, &err), 0);
	assert_int_equal(lease.state, state);
	assert_int_equal(lease.attempt, attempt);
}

static void test_life(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before_ms = clock_mono_ms();
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(grant.verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(grant.attempt, 1);
	assert_true(grant.token > 0);
	assert_true(grant.deadline_mono_ms >= before_ms + LEASE_MS);
	assert_true(grant.deadline_mono_ms <= clock_mono_ms() + LEASE_MS);
	check_line(fixture, "a", REAP_STATE_RUNNING, 1);
	assert_string_equal(redis_server_ask(&fixture->server, "ZCARD t:{mayfly}:deadlines"), "1");
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_CLAIMED);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_CLAIMED);
	assert_string_equal(redis_server_ask(&fixture->server, "EXISTS t:{mayfly}:lease:a t:{mayfly}:deadlines"), "0");
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_GONE);
}

static void test_renewal_moves_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);
	char first[32];

	(void)snprintf(first, sizeof(first), "%s", redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines a"));
	while (strcmp(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines a"), first) == 0)
		assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_CLAIMED);
	assert_true(strcmp(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines a"), first) > 0);
}

static uint64_t score_of(struct fixture *fixture, const char *id)
{
	return strtoull(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines %s", id), NULL, 10);
}

/* However short the workspace's life: the worker that ends it has a whole lease to tell so. */
static void test_the_lease_of_a_short_life_is_whole(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before_ms = clock_wall_ms();
	struct answer answer = { 0 };

	lease_claim(fixture->leases, "a", &source_1, 1, 1, on_answer, &answer);
	turn_until(fixture->base, is_answered, &answer);
	assert_true(score_of(fixture, "a") >= before_ms + LEASE_MS);
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", answer.grant.token), LEASE_VERDICT_CLAIMED);
	assert_true(score_of(fixture, "a") >= before_ms + LEASE_MS);
}

/* However often it is renewed: the reaper looks three leases after the end of ttl_ms. */
static void test_ttl_bounds_the_deadline(void **state)
{
	static const char line[] = "running w1.start 7000 1 h1 0 12345 mayfly.tasks 3 100";
	struct fixture *fixture = *state;
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);

	freeReplyObject(redisCommand(redis, "SET t:{mayfly}:lease:a %s", line));
	redisFree(redis);
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", 7000), LEASE_VERDICT_CLAIMED);
	assert_int_equal(score_of(fixture, "a"), 12345 + 3 * LEASE_MS);
}

/* By Redis's clock, which is this machine's. */
static void test_ttl_counts_from_the_claim(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer = { 0 };
	uint64_t before_ms = clock_wall_ms(), expires_ms;
	const char *at;

	lease_claim(fixture->leases, "a", &source_1, 5000, 1, on_answer, &answer);
	turn_until(fixture->base, is_answered, &answer);
	at = strstr(redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:a"), " h1 1 ");
	assert_non_null(at);
	expires_ms = strtoull(at + strlen(" h1 1 "), NULL, 10);
	assert_in_range(expires_ms, before_ms + 5000, clock_wall_ms() + 5000);
}

static void test_verdicts_of_a_claim(void **state)
{
	struct fixture *fixture = *state;
	struct leases *w1 = fixture->leases, *w2 = fixture->others;

	assert_int_equal(claim(fixture, w1, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(claim(fixture, w1, "a", &source_1).verdict, LEASE_VERDICT_HELD);
	assert_int_equal(claim(fixture, w2, "a", &source_1).verdict, LEASE_VERDICT_HELD);
	check_holder(claim(fixture, w2, "a", &source_2), LEASE_VERDICT_DUPLICATE);
	check_holder(claim(fixture, w2, "a", &source_other), LEASE_VERDICT_CONFLICT);
	set_state(fixture, "b", "reaping", "r", 1, 100);
	assert_int_equal(claim(fixture, w1, "b", &source_1).verdict, LEASE_VERDICT_HELD);
	check_holder(claim(fixture, w1, "b", &source_other), LEASE_VERDICT_CONFLICT);
	set_state(fixture, "c", "ended", "r", 1, 100);
	assert_int_equal(claim(fixture, w1, "c", &source_1).verdict, LEASE_VERDICT_HELD); /* not told yet */
	check_holder(claim(fixture, w1, "c", &source_other), LEASE_VERDICT_CONFLICT);
	set_state(fixture, "d", "told", "r", 1, 100);
	assert_int_equal(claim(fixture, w1, "d", &source_1).verdict, LEASE_VERDICT_TOLD);
	assert_int_equal(claim(fixture, w1, "d", &source_other).verdict, LEASE_VERDICT_CLAIMED); /* the id is free */
}

/* Nobody's record is there, or another topic's: nothing is known of whether it lives. */
static void test_a_line_that_names_no_record_of_ours(void **state)
{
	struct fixture *fixture = *state;

	set_line(fixture, "a", "reaping r 5 0 h1 0 0 - 0 0 -");
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_HELD);
	set_line(fixture, "b", "running r 5 1 h1 0 0 other.tasks 3 100 - - " CONTENT);
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_1).verdict, LEASE_VERDICT_HELD);
	set_line(fixture, "c", "running r 5 1 h1 0 0 mayfly.tasks 3 x - - " CONTENT);
	assert_int_equal(claim(fixture, fixture->leases, "c", &source_1).verdict, LEASE_VERDICT_HELD);
}

static void test_attempts_of_an_orphan(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant;

	set_state(fixture, "a", "orphan", "-", 1, 100);
	grant = claim(fixture, fixture->leases, "a", &source_1);
	assert_int_equal(grant.verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(grant.attempt, 2);
	set_state(fixture, "b", "orphan", "-", 2, 100);
	grant = claim(fixture, fixture->leases, "b", &source_1);
	assert_int_equal(grant.verdict, LEASE_VERDICT_EXHAUSTED);
	assert_int_equal(grant.attempt, 3);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "b", grant.token), LEASE_VERDICT_CLAIMED);
	set_state(fixture, "c", "orphan", "-", 2, 100);
	check_holder(claim(fixture, fixture->leases, "c", &source_other), LEASE_VERDICT_CONFLICT); /* its task still lives */
	assert_int_equal(claim(fixture, fixture->leases, "c", &source_1).verdict, LEASE_VERDICT_EXHAUSTED);
}

/* Nobody comes for an orphan whose record was answered: who knows that may have its id, and only that one's. */
static void test_the_orphan_of_an_answered_record(void **state)
{
	struct fixture *fixture = *state;
	struct lease_place place = { source_1.partition, source_1.offset + 1 };
	struct lease_source source = source_other;

	source.answered = &place;
	set_state(fixture, "a", "orphan", "-", 1, 100);
	check_holder(claim(fixture, fixture->leases, "a", &source), LEASE_VERDICT_CONFLICT);
	place.offset = source_1.offset;
	set_state(fixture, "b", "running", "w9", 1, 100); /* its end comes by itself */
	check_holder(claim(fixture, fixture->leases, "b", &source), LEASE_VERDICT_CONFLICT);
	assert_int_equal(claim(fixture, fixture->leases, "a", &source).verdict, LEASE_VERDICT_CLAIMED);
}

/* What a task is stays known over its attempts. */
static void test_content_outlives_an_attempt(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, abandon, "a", grant.token), LEASE_VERDICT_CLAIMED);
	check_holder(claim(fixture, fixture->others, "a", &source_2), LEASE_VERDICT_DUPLICATE);
	check_holder(claim(fixture, fixture->others, "a", &source_other), LEASE_VERDICT_CONFLICT);
	assert_int_equal(claim(fixture, fixture->others, "a", &source_1).attempt, 2);
	check_holder(claim(fixture, fixture->others, "a", &source_2), LEASE_VERDICT_DUPLICATE);
}

/* It is queued like any other record, for as long as it takes: no reaper takes it for lost. */
static void check_waits(struct fixture *fixture, const char *id)
{
	assert_int_equal(score_of(fixture, id), LEASE_NEVER_MS);
	assert_non_null(strstr(redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:%s", id),
			       " 9007199254740991 mayfly.tasks"));
}

static void test_release_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, release, "a", grant.token), LEASE_VERDICT_CLAIMED);
	assert_string_equal(redis_server_ask(&fixture->server, "EXISTS t:{mayfly}:lease:a t:{mayfly}:deadlines"), "0");
	set_state(fixture, "b", "orphan", "-", 1, 100);
	grant = claim(fixture, fixture->leases, "b", &source_1);
	assert_int_equal(grant.attempt, 2);
	assert_int_equal(ask(fixture, fixture->leases, release, "b", grant.token), LEASE_VERDICT_CLAIMED);
	check_line(fixture, "b", REAP_STATE_ORPHAN, 1);
	check_waits(fixture, "b");
	assert_int_equal(claim(fixture, fixture->others, "b", &source_1).attempt, 2);
}

static void test_abandoning_counts(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, abandon, "a", grant.token), LEASE_VERDICT_CLAIMED);
	assert_non_null(strstr(redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:a"), " - destroyed"));
	check_line(fixture, "a", REAP_STATE_ORPHAN, 1);
	check_waits(fixture, "a");
	assert_int_equal(claim(fixture, fixture->others, "a", &source_1).attempt, 2);
}

/* Owner and token must both be right, for every request. */
static void test_fencing(void **state)
{
	static const lease_call calls[] = { lease_renew, lease_finish, release, abandon };
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(ask(fixture, fixture->others, calls[i], "a", grant.token), LEASE_VERDICT_GONE);
		assert_int_equal(ask(fixture, fixture->leases, calls[i], "a", grant.token + 1), LEASE_VERDICT_GONE);
		assert_int_equal(ask(fixture, fixture->leases, calls[i], "missing", grant.token), LEASE_VERDICT_GONE);
	}
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_CLAIMED);
}

/* The same process start claims again after its first lease was reaped: only the token tells the two apart. */
static void test_own_older_token_is_stale(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant old = claim(fixture, fixture->leases, "a", &source_1), new;

	set_state(fixture, "a", "orphan", "-", 1, 100);
	new = claim(fixture, fixture->leases, "a", &source_1);
	assert_true(new.token > old.token);
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", old.token), LEASE_VERDICT_GONE);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", old.token), LEASE_VERDICT_GONE);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", new.token), LEASE_VERDICT_CLAIMED);
}

/* The negative control of the test above: without the token the stale finish would go through, and the test would see
 * it. */
static void test_a_script_without_the_token_is_caught(void **state)
{
	static const char head[] = "'running ' .. owner .. ' ' .. its_token .. ' '";
	struct fixture *fixture = *state;
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);
	char *weak = strdup(lease_finish_lua), *at = strstr(weak, head);
	redisReply *reply;

	assert_non_null(at);
	memset(at, ' ', sizeof(head) - 1);
	memcpy(at, "'running ' .. owner .. ' '", 26);
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED);
	reply = redisCommand(redis, "EVAL %s 3 t:{mayfly}:deadlines t:{mayfly}:lease: t:{mayfly}:token w1.start a 1",
			     weak);
	assert_int_equal(reply->element[0]->integer, LEASE_VERDICT_CLAIMED); /* a wrong token, and yet */
	freeReplyObject(reply);
	redisFree(redis);
	free(weak);
}

#define MANY 500

static void test_many_in_one_turn(void **state)
{
	static struct answer answers[MANY];
	struct fixture *fixture = *state;
	char id[16];

	memset(answers, 0, sizeof(answers));
	(void)redis_server_ask(&fixture->server, "CONFIG RESETSTAT");
	for (int i = 0; i < MANY; i++) {
		struct lease_source source = { "mayfly.tasks", i % 8, i, CONTENT, NULL };

		(void)snprintf(id, sizeof(id), "id-%d", i);
		lease_claim(fixture->leases, id, &source, FAR_MS, 0, on_answer, &answers[i]);
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

	lease_claim(fixture->leases, "a", &source_1, FAR_MS, 0, on_answer, &answers[0]);
	lease_claim(fixture->leases, "a", &source_1, FAR_MS, 0, on_answer, &answers[1]);
	lease_claim(fixture->leases, "a", &source_2, FAR_MS, 0, on_answer, &answers[2]);
	lease_claim(fixture->leases, "a", &source_other, FAR_MS, 0, on_answer, &answers[3]);
	turn_until(fixture->base, is_answered, &answers[3]);
	assert_int_equal(answers[0].grant.verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(answers[1].grant.verdict, LEASE_VERDICT_HELD);
	check_holder(answers[2].grant, LEASE_VERDICT_DUPLICATE);
	check_holder(answers[3].grant, LEASE_VERDICT_CONFLICT);
}

static void test_forgotten_is_not_answered(void **state)
{
	struct fixture *fixture = *state;
	struct answer forgotten = { 0 }, kept = { 0 };

	lease_claim(fixture->leases, "a", &source_1, FAR_MS, 0, on_answer, &forgotten);
	lease_claim(fixture->leases, "b", &source_2, FAR_MS, 0, on_answer, &kept);
	lease_forget(fixture->leases, &forgotten);
	turn_until(fixture->base, is_answered, &kept);
	assert_false(forgotten.is_there);
	assert_int_equal(claim(fixture, fixture->others, "a", &source_1).verdict, LEASE_VERDICT_HELD); /* yet made */
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
		lease_claim(fixture->leases, id, &source_1, FAR_MS, 0, on_answer, &answers[i]);
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
	lease_claim(fixture->leases, "a", &source_1, FAR_MS, 0, on_answer, &hung);
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
	lease_claim(fixture->leases, "a", &source_1, FAR_MS, 1, on_answer, &lost);
	turn_until(fixture->base, is_answered, &lost);
	assert_int_equal(lost.grant.verdict, LEASE_VERDICT_UNKNOWN);
	assert_int_equal(kill(fixture->server.pid, SIGCONT), 0);
	turn_until(fixture->base, is_connected, fixture->leases);
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_CLAIMED); /* not HELD */
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

/* A key that is none of ours must not break the batch it is asked in. */
static void test_foreign_key(void **state)
{
	struct fixture *fixture = *state;
	struct answer odd = { 0 }, good = { 0 };

	(void)redis_server_ask(&fixture->server, "HSET t:{mayfly}:lease:odd a b");
	lease_renew(fixture->leases, "odd", 7, on_answer, &odd);
	lease_renew(fixture->leases, "missing", 7, on_answer, &good);
	turn_until(fixture->base, is_answered, &good);
	assert_int_equal(odd.grant.verdict, LEASE_VERDICT_GONE);
	assert_int_equal(good.grant.verdict, LEASE_VERDICT_GONE);
}

/* Nor must a line that is damaged. Nobody gets its id; who held it holds it no more. */
static void test_damaged_lines(void **state)
{
	static const char *const lines[] = { "junk", "orphan - 7", "orphan - 7 x h1 0 9 mayfly.tasks 3 100",
					     "running w1.start 7", "running w1.start 7 1 h1 0 never mayfly.tasks 3 100", "told" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct answer odd = { 0 }, good = { 0 };

		set_line(fixture, "odd", lines[i]);
		lease_claim(fixture->leases, "odd", &source_1, FAR_MS, 1, on_answer, &odd);
		lease_claim(fixture->leases, "good", &source_2, FAR_MS, 1, on_answer, &good);
		turn_until(fixture->base, is_answered, &good);
		assert_int_equal(odd.grant.verdict, LEASE_VERDICT_HELD);
		assert_int_equal(good.grant.verdict, LEASE_VERDICT_CLAIMED);
		odd.is_there = false;
		lease_renew(fixture->leases, "odd", 7, on_answer, &odd);
		assert_int_equal(ask(fixture, fixture->leases, lease_renew, "good", good.grant.token), LEASE_VERDICT_CLAIMED);
		assert_true(odd.is_there);
		(void)ask(fixture, fixture->leases, abandon, "odd", 7);
		(void)ask(fixture, fixture->leases, lease_finish, "odd", 7);
		assert_int_equal(ask(fixture, fixture->leases, lease_finish, "good", good.grant.token), LEASE_VERDICT_CLAIMED);
	}
}

static void test_full_redis_refuses(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_string_equal(redis_server_ask(&fixture->server, "CONFIG SET maxmemory 1"), "OK");
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_2).verdict, LEASE_VERDICT_UNKNOWN);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_CLAIMED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(life),
		TEST(renewal_moves_the_deadline),
		TEST(ttl_counts_from_the_claim),
		TEST(the_lease_of_a_short_life_is_whole),
		TEST(ttl_bounds_the_deadline),
		TEST(verdicts_of_a_claim),
		TEST(a_line_that_names_no_record_of_ours),
		TEST(content_outlives_an_attempt),
		TEST(the_orphan_of_an_answered_record),
		TEST(attempts_of_an_orphan),
		TEST(release_does_not_count),
		TEST(abandoning_counts),
		TEST(fencing),
		TEST(own_older_token_is_stale),
		TEST(a_script_without_the_token_is_caught),
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
		TEST(foreign_key),
		TEST(damaged_lines),
		TEST(full_redis_refuses),
	};

	log_init("lease-test", LOG_LEVEL_COUNT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
