/* Leases against a real redis-server: who gets what, fencing, and what stands in Redis in the way. */
#include "tests/support/lease_fixture.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

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
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_DONE);
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", grant.token), LEASE_VERDICT_DONE);
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
		assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_DONE);
	assert_true(strcmp(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines a"), first) > 0);
}

/* However short the workspace's life: the worker that ends it has a whole lease to tell so. */
static void test_the_lease_of_a_short_life_is_whole(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before_ms = clock_wall_ms();
	struct answer answer = { 0 };

	lease_claim(fixture->leases, "a", &source_1, &(struct lease_workspace){ .ttl_ms = 1, .slot = 1 }, on_answer, &answer);
	turn_until(fixture->base, is_answered, &answer);
	assert_true(score_of(fixture, "a") >= before_ms + LEASE_MS);
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", answer.grant.token), LEASE_VERDICT_DONE);
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
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", 7000), LEASE_VERDICT_DONE);
	assert_int_equal(score_of(fixture, "a"), 12345 + 3 * LEASE_MS);
}

/* By Redis's clock, which is this machine's. */
static void test_ttl_counts_from_the_claim(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer = { 0 };
	uint64_t before_ms = clock_wall_ms(), expires_ms;
	const char *at;

	lease_claim(fixture->leases, "a", &source_1, &(struct lease_workspace){ .ttl_ms = 5000, .slot = 1 }, on_answer, &answer);
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
	assert_int_equal(claim(fixture, w1, "a", &source_1).verdict, LEASE_VERDICT_RUNNING);
	assert_int_equal(claim(fixture, w2, "a", &source_1).verdict, LEASE_VERDICT_RUNNING);
	check_holder(claim(fixture, w2, "a", &source_2), LEASE_VERDICT_DUPLICATE);
	check_holder(claim(fixture, w2, "a", &source_other), LEASE_VERDICT_CONFLICT);
	set_state(fixture, "b", "reaping", "r", 1, 100);
	assert_int_equal(claim(fixture, w1, "b", &source_1).verdict, LEASE_VERDICT_REAPING);
	check_holder(claim(fixture, w1, "b", &source_other), LEASE_VERDICT_CONFLICT);
	set_state(fixture, "c", "ended", "r", 1, 100);
	assert_int_equal(claim(fixture, w1, "c", &source_1).verdict, LEASE_VERDICT_ENDED); /* not told yet */
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
	assert_int_equal(claim(fixture, fixture->leases, "a", &source_1).verdict, LEASE_VERDICT_FOREIGN);
	set_line(fixture, "b", "running r 5 1 h1 0 0 other.tasks 3 100 - - " CONTENT);
	assert_int_equal(claim(fixture, fixture->leases, "b", &source_1).verdict, LEASE_VERDICT_FOREIGN);
	set_line(fixture, "c", "running r 5 1 h1 0 0 mayfly.tasks 3 x - - " CONTENT);
	assert_int_equal(claim(fixture, fixture->leases, "c", &source_1).verdict, LEASE_VERDICT_FOREIGN);
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
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "b", grant.token), LEASE_VERDICT_DONE);
	set_state(fixture, "c", "orphan", "-", 2, 100);
	check_holder(claim(fixture, fixture->leases, "c", &source_other), LEASE_VERDICT_CONFLICT); /* its task still lives */
	assert_int_equal(claim(fixture, fixture->leases, "c", &source_1).verdict, LEASE_VERDICT_EXHAUSTED);
}

/* Nobody comes for an orphan whose record was answered: who knows that may have its id, and only that one's. */
static void test_the_orphan_of_an_answered_record(void **state)
{
	struct fixture *fixture = *state;
	struct record_place place = { "mayfly.tasks", source_1.place.partition, source_1.place.offset + 1 };
	struct lease_source source = source_other;

	source.answered = &place;
	set_state(fixture, "a", "orphan", "-", 1, 100);
	check_holder(claim(fixture, fixture->leases, "a", &source), LEASE_VERDICT_CONFLICT);
	place.offset = source_1.place.offset;
	set_state(fixture, "b", "running", "w9", 1, 100); /* its end comes by itself */
	check_holder(claim(fixture, fixture->leases, "b", &source), LEASE_VERDICT_CONFLICT);
	assert_int_equal(claim(fixture, fixture->leases, "a", &source).verdict, LEASE_VERDICT_CLAIMED);
}

static void check_claim(struct fixture *fixture, const char *id, const struct lease_source *source, enum lease_verdict verdict,
			const struct record_place *holder)
{
	struct lease_grant grant = claim(fixture, fixture->leases, id, source);

	assert_int_equal(grant.verdict, verdict);
	if (holder)
		assert_true(record_place_is_same(&grant.holder, holder));
}

/* An id is one task's in all topics of the fleet, and the same numbers in two topics are two records. */
static void test_two_topics(void **state)
{
	struct fixture *fixture = *state;
	struct lease_source urgent = { { "mayfly.urgent", 3, 100 }, CONTENT, NULL };
	struct lease_source other = { { "mayfly.tasks", 4, 7 }, CONTENT, NULL };

	check_claim(fixture, "a", &urgent, LEASE_VERDICT_CLAIMED, NULL);
	check_claim(fixture, "a", &source_1, LEASE_VERDICT_DUPLICATE, &urgent.place);
	check_claim(fixture, "a", &source_other, LEASE_VERDICT_CONFLICT, &urgent.place);
	set_line(fixture, "b", "told r 5 1 h1 0 0 mayfly.urgent 3 100 - - " CONTENT);
	check_claim(fixture, "b", &urgent, LEASE_VERDICT_TOLD, NULL);
	check_claim(fixture, "b", &source_1, LEASE_VERDICT_CLAIMED, NULL); /* the id is free */
	set_line(fixture, "c", "orphan - 5 1 h1 0 0 mayfly.urgent 3 100 - - " CONTENT);
	other.answered = &source_1.place;
	check_claim(fixture, "c", &other, LEASE_VERDICT_DUPLICATE, &urgent.place); /* another record is answered, of the same numbers */
	other.answered = &urgent.place;
	check_claim(fixture, "c", &other, LEASE_VERDICT_CLAIMED, NULL);
}

/* Nothing is taken from another fleet's line, in whatever state it is. */
static void test_a_line_of_another_fleet(void **state)
{
	static const char *const states[] = { "running", "reaping", "orphan", "ended", "told" };
	const struct record_place theirs = { "other.tasks", 3, 100 };
	struct lease_source source = { source_1.place, CONTENT, &theirs };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		char line[120];

		(void)snprintf(line, sizeof(line), "%s - 5 1 h1 0 0 other.tasks 3 100 - - " CONTENT, states[i]);
		set_line(fixture, "a", line);
		check_claim(fixture, "a", &source, LEASE_VERDICT_FOREIGN, NULL);
	}
}

/* What a task is stays known over its attempts. */
static void test_content_outlives_an_attempt(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, abandon, "a", grant.token), LEASE_VERDICT_DONE);
	check_holder(claim(fixture, fixture->others, "a", &source_2), LEASE_VERDICT_DUPLICATE);
	check_holder(claim(fixture, fixture->others, "a", &source_other), LEASE_VERDICT_CONFLICT);
	assert_int_equal(claim(fixture, fixture->others, "a", &source_1).attempt, 2);
	check_holder(claim(fixture, fixture->others, "a", &source_2), LEASE_VERDICT_DUPLICATE);
}

static void test_release_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, release, "a", grant.token), LEASE_VERDICT_DONE);
	assert_string_equal(redis_server_ask(&fixture->server, "EXISTS t:{mayfly}:lease:a t:{mayfly}:deadlines"), "0");
	set_state(fixture, "b", "orphan", "-", 1, 100);
	grant = claim(fixture, fixture->leases, "b", &source_1);
	assert_int_equal(grant.attempt, 2);
	assert_int_equal(ask(fixture, fixture->leases, release, "b", grant.token), LEASE_VERDICT_DONE);
	check_line(fixture, "b", REAP_STATE_ORPHAN, 1);
	check_waits(fixture, "b");
	assert_int_equal(claim(fixture, fixture->others, "b", &source_1).attempt, 2);
}

static void test_abandoning_counts(void **state)
{
	struct fixture *fixture = *state;
	struct lease_grant grant = claim(fixture, fixture->leases, "a", &source_1);

	assert_int_equal(ask(fixture, fixture->leases, abandon, "a", grant.token), LEASE_VERDICT_DONE);
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
	assert_int_equal(ask(fixture, fixture->leases, lease_renew, "a", grant.token), LEASE_VERDICT_DONE);
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
	assert_int_equal(ask(fixture, fixture->leases, lease_finish, "a", new.token), LEASE_VERDICT_DONE);
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
		lease_claim(fixture->leases, "odd", &source_1, &workspace, on_answer, &odd);
		lease_claim(fixture->leases, "good", &source_2, &workspace, on_answer, &good);
		turn_until(fixture->base, is_answered, &good);
		assert_int_equal(odd.grant.verdict, i == 4 ? LEASE_VERDICT_RUNNING : LEASE_VERDICT_FOREIGN); /* its head is whole */
		assert_int_equal(good.grant.verdict, LEASE_VERDICT_CLAIMED);
		odd.is_there = false;
		lease_renew(fixture->leases, "odd", 7, on_answer, &odd);
		assert_int_equal(ask(fixture, fixture->leases, lease_renew, "good", good.grant.token), LEASE_VERDICT_DONE);
		assert_true(odd.is_there);
		(void)ask(fixture, fixture->leases, abandon, "odd", 7);
		(void)ask(fixture, fixture->leases, lease_finish, "odd", 7);
		assert_int_equal(ask(fixture, fixture->leases, lease_finish, "good", good.grant.token), LEASE_VERDICT_DONE);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(life),
		TEST(renewal_moves_the_deadline),
		TEST(the_lease_of_a_short_life_is_whole),
		TEST(ttl_bounds_the_deadline),
		TEST(ttl_counts_from_the_claim),
		TEST(verdicts_of_a_claim),
		TEST(a_line_that_names_no_record_of_ours),
		TEST(attempts_of_an_orphan),
		TEST(the_orphan_of_an_answered_record),
		TEST(content_outlives_an_attempt),
		TEST(release_does_not_count),
		TEST(abandoning_counts),
		TEST(fencing),
		TEST(own_older_token_is_stale),
		TEST(two_topics),
		TEST(a_line_of_another_fleet),
		TEST(foreign_key),
		TEST(damaged_lines),
	};

	log_init("lease-test", LOG_LEVEL_COUNT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
