#include "tests/support/lease_fixture.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/lease_keys.h"
#include "bus/lease_line.h"

const struct lease_source source_1 = { { "mayfly.tasks", 3, 100 }, CONTENT, NULL };
const struct lease_source source_other = { { "mayfly.tasks", 4, 7 }, "ffffffffffffffffffffffffffffffff", NULL };
const struct lease_source source_2 = { { "mayfly.tasks", 3, 101 }, CONTENT, NULL };
const struct lease_workspace workspace = { .vm_id = "vm-1", .tenant = "tenant-1", .ttl_ms = FAR_MS, .slot = 1 };

void on_answer(void *ctx, const struct lease_grant *grant)
{
	struct answer *answer = ctx;

	answer->is_there = true;
	answer->n++;
	answer->grant = *grant;
}

bool is_answered(const void *ctx)
{
	return ((const struct answer *)ctx)->is_there;
}

bool is_connected(const void *ctx)
{
	return leases_are_connected(ctx);
}

bool is_lost(const void *ctx)
{
	return !leases_are_connected(ctx);
}

static const char *const topics[] = { "mayfly.tasks", "mayfly.urgent" };

struct leases *open_leases(struct fixture *fixture, const char *owner, const char *host)
{
	const struct lease_config config = { .redis_host = "127.0.0.1",
					     .redis_port = fixture->server.port,
					     .prefix = "t",
					     .owner = owner,
					     .host = host,
					     .topics = topics,
					     .n_topics = 2,
					     .lease_ms = LEASE_MS,
					     .max_attempts = 2 };
	struct leases *leases;
	struct err err;

	assert_int_equal(leases_new(fixture->base, &config, &leases, &err), 0);
	turn_until(fixture->base, is_connected, leases);
	return leases;
}

int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	redis_server_start(&fixture->server);
	fixture->base = event_base_new();
	fixture->leases = open_leases(fixture, "w1.start", "h1");
	fixture->others = open_leases(fixture, "w2.start", "h2");
	*state = fixture;
	return 0;
}

int tear_down(void **state)
{
	struct fixture *fixture = *state;

	leases_free(fixture->leases);
	leases_free(fixture->others);
	event_base_free(fixture->base);
	redis_server_kill(&fixture->server);
	free(fixture);
	return 0;
}

struct lease_grant claim(struct fixture *fixture, struct leases *leases, const char *id,
				const struct lease_source *source)
{
	struct answer answer = { 0 };

	lease_claim(leases, id, source, &workspace, on_answer, &answer);
	assert_false(answer.is_there); /* never from inside the call */
	turn_until(fixture->base, is_answered, &answer);
	return answer.grant;
}

enum lease_verdict ask(struct fixture *fixture, struct leases *leases, lease_call call, const char *id,
			      uint64_t token)
{
	struct answer answer = { 0 };

	call(leases, id, token, on_answer, &answer);
	turn_until(fixture->base, is_answered, &answer);
	return answer.grant.verdict;
}

void release(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	lease_release(leases, id, token, false, fn, ctx);
}

void abandon(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	lease_abandon(leases, id, token, true, fn, ctx);
}

unsigned long count_of(struct fixture *fixture, const char *stat)
{
	char name[64];
	const char *at;

	(void)snprintf(name, sizeof(name), "%s:calls=", stat);
	at = strstr(redis_server_ask(&fixture->server, "INFO commandstats"), name);
	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

void set_state(struct fixture *fixture, const char *id, const char *state, const char *owner, unsigned attempt,
		      int offset)
{
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);
	char line[200];

	(void)snprintf(line, sizeof(line), "%s %s 7 %u h1 0 %llu mayfly.tasks 3 %d", state, owner, attempt, FAR_MS,
		       offset);
	freeReplyObject(redisCommand(redis, "SET t:{mayfly}:lease:%s %s", id, line));
	redisFree(redis);
}

void set_line(struct fixture *fixture, const char *id, const char *line)
{
	redisContext *redis = redisConnect("127.0.0.1", (int)fixture->server.port);

	freeReplyObject(redisCommand(redis, "SET t:{mayfly}:lease:%s %s", id, line));
	redisFree(redis);
}

void check_holder(struct lease_grant grant, enum lease_verdict verdict)
{
	assert_int_equal(grant.verdict, verdict);
	assert_int_equal(grant.holder.partition, source_1.place.partition);
	assert_int_equal(grant.holder.offset, source_1.place.offset);
	assert_string_equal(grant.holder.topic, source_1.place.topic);
}

void check_line(struct fixture *fixture, const char *id, enum reap_state state, unsigned attempt)
{
	const char *line = redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:%s", id);
	struct reap_lease lease;
	struct err err;

	assert_int_equal(lease_line_parse(line, strlen(line), &lease, &err), 0);
	assert_int_equal(lease.state, state);
	assert_int_equal(lease.attempt, attempt);
}

uint64_t score_of(struct fixture *fixture, const char *id)
{
	return strtoull(redis_server_ask(&fixture->server, "ZSCORE t:{mayfly}:deadlines %s", id), NULL, 10);
}

void check_waits(struct fixture *fixture, const char *id)
{
	assert_int_equal(score_of(fixture, id), LEASE_NEVER_MS);
	assert_non_null(strstr(redis_server_ask(&fixture->server, "GET t:{mayfly}:lease:%s", id),
			       " 9007199254740991 mayfly.tasks"));
}
