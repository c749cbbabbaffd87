#include "bus/lease_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "bus/lease_keys.h"

#define CLAIM_FIELDS 4 /* three numbers and a text */

static_assert(LEASE_VERDICT_CLAIMED == 0 && LEASE_VERDICT_HELD == 1 && LEASE_VERDICT_DUPLICATE == 2 &&
		      LEASE_VERDICT_CONFLICT == 3 && LEASE_VERDICT_TOLD == 4 && LEASE_VERDICT_EXHAUSTED == 5 &&
		      LEASE_VERDICT_GONE == 6,
	      "LEASE_LUA_VERDICTS has these numbers");

static_assert(LEASE_NEVER_MS == 9007199254740991, "LEASE_LUA_NEVER is this number");

/* An array of rows, each of `row_len` elements; all are integers, or all but the last, which is text. */
static int check_shape(const redisReply *reply, size_t n_rows, size_t row_len, bool has_text, struct err *err)
{
	size_t n_fields = n_rows * row_len;

	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a lease script ('%.120s'): check its log and memory", reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n_fields)
		return err_set(
			err, ERR_HOST, EBADMSG,
			"Redis answered a lease script with type %d of %zu elements instead of an array of %zu: is it "
			"a Redis server?",
			reply->type, reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0, n_fields);
	for (size_t i = 0; i < n_fields; i++) {
		int type = has_text && i % row_len == row_len - 1 ? REDIS_REPLY_STRING : REDIS_REPLY_INTEGER;

		if (!reply->element[i] || reply->element[i]->type != type)
			return err_set(err, ERR_HOST, EBADMSG, "Redis answered a lease script with a wrong type at %zu", i);
	}
	return 0;
}

static bool is_grant(long long token, long long attempt)
{
	return token >= 1 && token <= LEASE_NUMBER_MAX && attempt >= 1 && attempt <= LEASE_ATTEMPT_MAX;
}

/* "partition offset", as a line has them. */
static bool read_holder(const char *text, struct lease_grant *ret)
{
	long long partition, offset;
	int end = 0;

	if (sscanf(text, "%10lld %19lld%n", &partition, &offset, &end) != 2 || text[end] || partition < 0 ||
	    partition > INT32_MAX || offset < 0)
		return false;
	ret->holder.partition = (int32_t)partition;
	ret->holder.offset = offset;
	return true;
}

static bool read_claim(redisReply *const *row, struct lease_grant *ret)
{
	long long verdict = row[0]->integer, token = row[1]->integer, attempt = row[2]->integer;
	bool is_granted = verdict == LEASE_VERDICT_CLAIMED || verdict == LEASE_VERDICT_EXHAUSTED;
	bool has_holder = verdict == LEASE_VERDICT_DUPLICATE || verdict == LEASE_VERDICT_CONFLICT;

	if (verdict < 0 || verdict > LEASE_VERDICT_EXHAUSTED)
		return false;
	if (is_granted ? !is_grant(token, attempt) : token != 0 || attempt != 0)
		return false;
	*ret = (struct lease_grant){ .verdict = (enum lease_verdict)verdict,
				     .token = (uint64_t)token,
				     .attempt = (uint32_t)attempt };
	return has_holder ? read_holder(row[3]->str, ret) : row[3]->len == 0;
}

int lease_reply_claims(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	int r = check_shape(reply, n, CLAIM_FIELDS, true, err);

	for (size_t i = 0; i < n && r == 0; i++)
		if (!read_claim(&reply->element[i * CLAIM_FIELDS], &grants[i]))
			r = err_set(err, ERR_HOST, EBADMSG,
				    "Redis answered claim %zu with a grant that no script of ours makes", i);
	return r;
}

int lease_reply_verdicts(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	int r = check_shape(reply, n, 1, false, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		long long verdict = reply->element[i]->integer;

		if (verdict != LEASE_VERDICT_CLAIMED && verdict != LEASE_VERDICT_GONE)
			return err_set(err, ERR_HOST, EBADMSG,
				       "Redis answered lease %zu with a verdict that no script of ours makes", i);
		grants[i] = (struct lease_grant){ .verdict = (enum lease_verdict)verdict };
	}
	return 0;
}
