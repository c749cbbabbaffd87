#include "bus/lease_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>

#include "bus/lease_keys.h"

#define CLAIM_FIELDS 3

static_assert(LEASE_VERDICT_CLAIMED == 0 && LEASE_VERDICT_HELD == 1 && LEASE_VERDICT_DUPLICATE == 2 &&
		      LEASE_VERDICT_ENDED == 3 && LEASE_VERDICT_EXHAUSTED == 4 && LEASE_VERDICT_GONE == 5,
	      "LEASE_LUA_VERDICTS has these numbers");

static_assert(LEASE_NEVER_MS == 9007199254740991, "LEASE_LUA_NEVER is this number");

static int check_shape(const redisReply *reply, size_t n_fields, struct err *err)
{
	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a lease script ('%.120s'): check its log and memory", reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n_fields)
		return err_set(
			err, ERR_HOST, EBADMSG,
			"Redis answered a lease script with type %d of %zu elements instead of an array of %zu: is it "
			"a Redis server?",
			reply->type, reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0, n_fields);
	for (size_t i = 0; i < n_fields; i++)
		if (!reply->element[i] || reply->element[i]->type != REDIS_REPLY_INTEGER)
			return err_set(err, ERR_HOST, EBADMSG,
				       "Redis answered a lease script with a non-integer at %zu", i);
	return 0;
}

static bool is_grant(long long token, long long attempt)
{
	return token >= 1 && token <= LEASE_NUMBER_MAX && attempt >= 1 && attempt <= LEASE_ATTEMPT_MAX;
}

static int bad_claim(size_t i, struct err *err)
{
	return err_set(err, ERR_HOST, EBADMSG, "Redis answered claim %zu with a grant that no script of ours makes", i);
}

int lease_reply_claims(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	int r = check_shape(reply, n * CLAIM_FIELDS, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		long long verdict = reply->element[i * CLAIM_FIELDS]->integer;
		long long token = reply->element[i * CLAIM_FIELDS + 1]->integer;
		long long attempt = reply->element[i * CLAIM_FIELDS + 2]->integer;
		bool is_granted = verdict == LEASE_VERDICT_CLAIMED || verdict == LEASE_VERDICT_EXHAUSTED;

		if (verdict < 0 || verdict > LEASE_VERDICT_EXHAUSTED)
			return bad_claim(i, err);
		if (is_granted ? !is_grant(token, attempt) : token != 0 || attempt != 0)
			return bad_claim(i, err);
		grants[i] = (struct lease_grant){ .verdict = (enum lease_verdict)verdict,
						  .token = (uint64_t)token,
						  .attempt = (uint32_t)attempt };
	}
	return 0;
}

int lease_reply_verdicts(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	int r = check_shape(reply, n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		long long verdict = reply->element[i]->integer;

		if (verdict != LEASE_VERDICT_CLAIMED && verdict != LEASE_VERDICT_GONE)
			return bad_claim(i, err);
		grants[i] = (struct lease_grant){ .verdict = (enum lease_verdict)verdict };
	}
	return 0;
}
