#include "bus/lease_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_keys.h"

#define CLAIM_FIELDS 4 /* a verdict, two numbers and a text */

static const char *const verdict_names[] = {
	[LEASE_VERDICT_CLAIMED] = "claimed",	 [LEASE_VERDICT_EXHAUSTED] = "exhausted", [LEASE_VERDICT_RUNNING] = "running",
	[LEASE_VERDICT_REAPING] = "reaping",	 [LEASE_VERDICT_ENDED] = "ended",	  [LEASE_VERDICT_TOLD] = "told",
	[LEASE_VERDICT_DUPLICATE] = "duplicate", [LEASE_VERDICT_CONFLICT] = "conflict",	  [LEASE_VERDICT_FOREIGN] = "foreign",
	[LEASE_VERDICT_DONE] = "done",		 [LEASE_VERDICT_GONE] = "gone",		  [LEASE_VERDICT_UNKNOWN] = "unknown",
};
static_assert(ARRAY_SIZE(verdict_names) == LEASE_VERDICT_COUNT, "a name for every lease_verdict");

const char *lease_verdict_name(enum lease_verdict verdict)
{
	return (unsigned)verdict < LEASE_VERDICT_COUNT ? verdict_names[verdict] : "unknown";
}

/* From `first` to `last`; COUNT: none of these. */
static enum lease_verdict read_verdict(const redisReply *word, enum lease_verdict first, enum lease_verdict last)
{
	for (int i = first; i <= (int)last; i++)
		if (strcmp(word->str, verdict_names[i]) == 0)
			return (enum lease_verdict)i;
	return LEASE_VERDICT_COUNT;
}

/* Rows of as many elements as `types` has letters: 't' is text, 'n' a number. */
static int check_shape(const redisReply *reply, size_t n_rows, const char *types, struct err *err)
{
	size_t width = strlen(types), n_elements = n_rows * width;

	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a call of the lease library ('%.120s'): check its log and memory", reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n_elements)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis answered a call of the lease library with type %d of %zu elements instead of an array of %zu: is it "
			       "a Redis server?",
			       reply->type, reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0, n_elements);
	for (size_t i = 0; i < n_elements; i++) {
		int type = types[i % width] == 't' ? REDIS_REPLY_STRING : REDIS_REPLY_INTEGER;

		if (!reply->element[i] || reply->element[i]->type != type)
			return err_set(err, ERR_HOST, EBADMSG, "Redis answered a call of the lease library with a wrong type at %zu", i);
	}
	return 0;
}

static bool is_grant(long long token, long long attempt)
{
	return token >= 1 && token <= LEASE_NUMBER_MAX && attempt >= 1 && attempt <= LEASE_ATTEMPT_MAX;
}

/* NULL: none of them. */
static const char *find_topic(const char *const *topics, size_t n_topics, const char *name, size_t len)
{
	for (size_t i = 0; i < n_topics; i++)
		if (strlen(topics[i]) == len && memcmp(topics[i], name, len) == 0)
			return topics[i];
	return NULL;
}

/* "topic partition offset", as a line has them. */
static bool read_holder(const char *text, const char *const *topics, size_t n_topics, struct lease_grant *ret)
{
	const char *numbers = strchr(text, ' ');
	long long partition, offset;
	int end = 0;

	if (!numbers || sscanf(numbers, " %10lld %19lld%n", &partition, &offset, &end) != 2 || numbers[end] || partition < 0 ||
	    partition > INT32_MAX || offset < 0)
		return false;
	ret->holder = (struct record_place){ find_topic(topics, n_topics, text, (size_t)(numbers - text)), (int32_t)partition, offset };
	return ret->holder.topic;
}

static bool read_claim(redisReply *const *row, const char *const *topics, size_t n_topics, struct lease_grant *ret)
{
	enum lease_verdict verdict = read_verdict(row[0], LEASE_VERDICT_CLAIMED, LEASE_VERDICT_FOREIGN);
	long long token = row[1]->integer, attempt = row[2]->integer;
	bool is_granted = verdict == LEASE_VERDICT_CLAIMED || verdict == LEASE_VERDICT_EXHAUSTED;
	bool has_holder = verdict == LEASE_VERDICT_DUPLICATE || verdict == LEASE_VERDICT_CONFLICT;

	if (verdict == LEASE_VERDICT_COUNT)
		return false;
	if (is_granted ? !is_grant(token, attempt) : token != 0 || attempt != 0)
		return false;
	*ret = (struct lease_grant){ .verdict = verdict,
				     .token = (uint64_t)token,
				     .attempt = (uint32_t)attempt };
	return has_holder ? read_holder(row[3]->str, topics, n_topics, ret) : row[3]->len == 0;
}

int lease_reply_claims(const redisReply *reply, size_t n, const char *const *topics, size_t n_topics, struct lease_grant *grants,
		       struct err *err)
{
	int r = check_shape(reply, n, "tnnt", err);

	for (size_t i = 0; i < n && r == 0; i++)
		if (!read_claim(&reply->element[i * CLAIM_FIELDS], topics, n_topics, &grants[i]))
			r = err_set(err, ERR_HOST, EBADMSG,
				    "Redis answered claim %zu with a grant that the library does not make", i);
	return r;
}

int lease_reply_verdicts(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	int r = check_shape(reply, n, "t", err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		enum lease_verdict verdict = read_verdict(reply->element[i], LEASE_VERDICT_DONE, LEASE_VERDICT_GONE);

		if (verdict == LEASE_VERDICT_COUNT)
			return err_set(err, ERR_HOST, EBADMSG,
				       "Redis answered lease %zu with a verdict that the library does not give", i);
		grants[i] = (struct lease_grant){ .verdict = verdict };
	}
	return 0;
}
