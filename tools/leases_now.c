#include "tools/leases_now.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "bus/hiredis_own.h"
#include "bus/lease_keys.h"
#include "bus/lease_line.h"
#include "bus/redis_endpoint.h"

#define ANSWER_MS 3000

static int open_redis(const struct target *target, redisContext **ret, struct err *err)
{
	cleanup_(redis_endpoint_freep) struct redis_endpoint *endpoint = NULL;
	char why[sizeof(err->msg)];
	int r = redis_endpoint_new(&target->fleet.redis, &endpoint, err);

	if (r == 0)
		r = redis_endpoint_enter(endpoint, ANSWER_MS, ret, err);
	if (r == 0 || err->kind == ERR_INPUT)
		return r;
	memcpy(why, err->msg, sizeof(why));
	return err_set(err, ERR_HOST, 0, "%.140s. Start a private stack with `mayfly dev start`, or name yours with --redis", why);
}

static int no_answer(redisContext *redis, const redisReply *reply, const char *what, struct err *err)
{
	return err_set(err, ERR_HOST, 0, "ask Redis for %s: %s", what,
		       reply && reply->type == REDIS_REPLY_ERROR ? reply->str
		       : redis->err				 ? redis->errstr
								 : "an unknown answer");
}

int leases_now_probe(const struct target *target, bool *ret_is_evicting, struct err *err)
{
	cleanup_(redisFreep) redisContext *redis = NULL;
	cleanup_(reply_freep) redisReply *reply = NULL;
	int r = open_redis(target, &redis, err);

	if (r < 0)
		return r;
	reply = redisCommand(redis, "CONFIG GET maxmemory-policy");
	*ret_is_evicting = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
			   reply->element[1]->type == REDIS_REPLY_STRING &&
			   strcmp(reply->element[1]->str, "noeviction") != 0;
	/* Who may only look at leases is not allowed to ask for this. Worker and reaper look at it themselves. */
	if (reply && (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOPERM", 6) == 0))
		return 0;
	return no_answer(redis, reply, "its eviction policy", err);
}

static int read_now(redisContext *redis, uint64_t *ret, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = redisCommand(redis, "TIME");

	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_STRING)
		return no_answer(redis, reply, "the time", err);
	*ret = strtoull(reply->element[0]->str, NULL, 10) * 1000 + strtoull(reply->element[1]->str, NULL, 10) / 1000;
	return 0;
}

static int read_line(redisContext *redis, const struct lease_keys *keys, const redisReply *id, struct reap_lease *ret,
		     struct err *err)
{
	cleanup_(reply_freep) redisReply *reply =
		redisCommand(redis, "GET %s%b", keys->lease_prefix, id->str, (size_t)id->len);

	if (!reply || reply->type == REDIS_REPLY_ERROR)
		return no_answer(redis, reply, "a lease", err);
	if (reply->type == REDIS_REPLY_NIL)
		return -ENOENT; /* finished between the two questions */
	if (reply->type != REDIS_REPLY_STRING || !ident_is_id(id->str, (size_t)id->len) ||
	    lease_line_parse(reply->str, (size_t)reply->len, ret, err) < 0)
		return -EBADMSG;
	memcpy(ret->id, id->str, (size_t)id->len);
	return 0;
}

static int read_lines(redisContext *redis, const struct lease_keys *keys, const redisReply *ids, struct leases_now *ret,
		      struct err *err)
{
	int r;

	ret->leases = calloc(ids->elements / 2 + 1, sizeof(*ret->leases));
	if (!ret->leases)
		return err_set(err, ERR_HOST, ENOMEM, "%zu leases", ids->elements / 2);
	for (size_t i = 0; i + 1 < ids->elements; i += 2) {
		r = read_line(redis, keys, ids->element[i], &ret->leases[ret->n], err);
		ret->n_bad += r == -EBADMSG;
		if (r == -EBADMSG || r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		ret->leases[ret->n++].due_ms = strtoull(ids->element[i + 1]->str, NULL, 10);
	}
	return 0;
}

int leases_now_read(const struct target *target, struct leases_now *ret, struct err *err)
{
	cleanup_(redisFreep) redisContext *redis = NULL;
	cleanup_(reply_freep) redisReply *ids = NULL;
	struct lease_keys keys;
	int r = lease_keys_name(target->fleet.topic_prefix, &keys, err);

	*ret = (struct leases_now){ 0 };
	if (r == 0)
		r = open_redis(target, &redis, err);
	if (r == 0)
		r = read_now(redis, &ret->now_ms, err);
	if (r < 0)
		return r;
	ids = redisCommand(redis, "ZRANGE %s 0 -1 WITHSCORES", keys.deadlines);
	if (!ids || ids->type != REDIS_REPLY_ARRAY)
		return no_answer(redis, ids, "the deadlines", err);
	r = read_lines(redis, &keys, ids, ret, err);
	if (r < 0)
		leases_now_clear(ret);
	return r;
}

void leases_now_clear(struct leases_now *leases)
{
	free(leases->leases);
	leases->leases = NULL;
	leases->n = 0;
}
