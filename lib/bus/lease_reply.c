#include "bus/lease_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_keys.h"

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

/* What is left of a text of words with a space between them. */
struct words {
	const char *at, *end; /* at is NULL behind the last one */
};

struct word {
	const char *text;
	size_t len;
};

static struct word next_word(struct words *words)
{
	struct word word = { words->at, 0 };
	const char *space;

	if (!words->at)
		return (struct word){ "", 0 };
	space = memchr(words->at, ' ', (size_t)(words->end - words->at));
	word.len = (size_t)((space ? space : words->end) - words->at);
	words->at = space ? space + 1 : NULL;
	return word;
}

/* Decimal digits; false: it is none up to `max`. */
static bool read_number(struct words *words, uint64_t max, uint64_t *ret)
{
	struct word word = next_word(words);
	uint64_t number = 0;

	for (size_t i = 0; i < word.len; i++) {
		unsigned digit = (unsigned)(word.text[i] - '0');

		if (digit > 9 || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret = number;
	return word.len > 0;
}

/* From `first` to `last`; COUNT: none of these. */
static enum lease_verdict read_verdict(struct words *words, enum lease_verdict first, enum lease_verdict last)
{
	struct word word = next_word(words);

	for (int i = first; i <= (int)last; i++)
		if (strlen(verdict_names[i]) == word.len && memcmp(word.text, verdict_names[i], word.len) == 0)
			return (enum lease_verdict)i;
	return LEASE_VERDICT_COUNT;
}

static int check_kind(const redisReply *reply, struct err *err)
{
	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a call of the lease library ('%.120s'): check its log and memory", reply->str);
	if (reply->type != REDIS_REPLY_STRING)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis answered a call of the lease library with type %d instead of text: is it a Redis server?", reply->type);
	return 0;
}

/* NULL: none of them. */
static const char *find_topic(const char *const *topics, size_t n_topics, const struct word *name)
{
	for (size_t i = 0; i < n_topics; i++)
		if (strlen(topics[i]) == name->len && memcmp(topics[i], name->text, name->len) == 0)
			return topics[i];
	return NULL;
}

struct reading {
	const char *const *topics;
	size_t n_topics;
	bool (*read)(struct words *words, const struct reading *reading, struct lease_grant *ret);
};

/* "topic partition offset", as a line has them. */
static bool read_holder(struct words *words, const struct reading *reading, struct lease_grant *ret)
{
	struct word name = next_word(words);
	uint64_t partition, offset;

	if (!read_number(words, INT32_MAX, &partition) || !read_number(words, INT64_MAX, &offset))
		return false;
	ret->holder = (struct record_place){ find_topic(reading->topics, reading->n_topics, &name), (int32_t)partition, (int64_t)offset };
	return ret->holder.topic;
}

static bool read_grant(struct words *words, struct lease_grant *ret)
{
	uint64_t attempt;

	if (!read_number(words, LEASE_NUMBER_MAX, &ret->token) || !read_number(words, LEASE_ATTEMPT_MAX, &attempt))
		return false;
	ret->attempt = (uint32_t)attempt;
	return ret->token && attempt;
}

static bool read_claim(struct words *words, const struct reading *reading, struct lease_grant *ret)
{
	*ret = (struct lease_grant){ .verdict = read_verdict(words, LEASE_VERDICT_CLAIMED, LEASE_VERDICT_FOREIGN) };
	switch (ret->verdict) {
	case LEASE_VERDICT_CLAIMED:
	case LEASE_VERDICT_EXHAUSTED:
		return read_grant(words, ret);
	case LEASE_VERDICT_DUPLICATE:
	case LEASE_VERDICT_CONFLICT:
		return read_holder(words, reading, ret);
	case LEASE_VERDICT_RUNNING:
	case LEASE_VERDICT_REAPING:
	case LEASE_VERDICT_ENDED:
	case LEASE_VERDICT_TOLD:
	case LEASE_VERDICT_FOREIGN:
		return true;
	case LEASE_VERDICT_DONE:
	case LEASE_VERDICT_GONE:
	case LEASE_VERDICT_UNKNOWN:
	case LEASE_VERDICT_COUNT:
		break;
	}
	return false;
}

static bool read_done(struct words *words, const struct reading *reading, struct lease_grant *ret)
{
	(void)reading;
	*ret = (struct lease_grant){ .verdict = read_verdict(words, LEASE_VERDICT_DONE, LEASE_VERDICT_GONE) };
	return ret->verdict != LEASE_VERDICT_COUNT;
}

/* A line for each of `n` leases, without an end of line behind the last. */
static int read_lines(const redisReply *reply, size_t n, const struct reading *reading, struct lease_grant *grants, struct err *err)
{
	int r = check_kind(reply, err);
	const char *at = r == 0 ? reply->str : NULL, *end = r == 0 ? at + reply->len : NULL;

	for (size_t i = 0; i < n && r == 0; i++) {
		const char *line_end = at ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		struct words words = { at, line_end ? line_end : end };

		if (!at || !reading->read(&words, reading, &grants[i]) || words.at)
			return err_set(err, ERR_HOST, EBADMSG, "Redis answered lease %zu with a line that the library does not make", i);
		at = line_end ? line_end + 1 : NULL;
	}
	if (r == 0 && at && n)
		return err_set(err, ERR_HOST, EBADMSG, "Redis answered more than the %zu leases that were asked about", n);
	return r;
}

int lease_reply_claims(const redisReply *reply, size_t n, const char *const *topics, size_t n_topics, struct lease_grant *grants,
		       struct err *err)
{
	const struct reading reading = { topics, n_topics, read_claim };

	return read_lines(reply, n, &reading, grants, err);
}

int lease_reply_verdicts(const redisReply *reply, size_t n, struct lease_grant *grants, struct err *err)
{
	const struct reading reading = { .read = read_done };

	return read_lines(reply, n, &reading, grants, err);
}
