/* What the lease library answers to a worker, into grants. Pure, and strict: an answer that is not
 * exactly what the library can say is refused as a whole, because a half-believed lease is worse than none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/record_place.h"

struct redisReply;

/* What the library in Redis says, in words (lua/claim.lua and the others). */
enum lease_verdict {
	/* Of a claim: it is granted. */
	LEASE_VERDICT_CLAIMED,
	LEASE_VERDICT_EXHAUSTED, /* too often by now: only so that the caller can answer `lost` */
	/* Of a claim: the state in which the lease of the same record is somebody else's. But for TOLD: ask again later. */
	LEASE_VERDICT_RUNNING, /* a worker's */
	LEASE_VERDICT_REAPING, /* a reaper's, or it has yet to come */
	LEASE_VERDICT_ENDED,   /* a reaper's, which has yet to tell the result */
	LEASE_VERDICT_TOLD,    /* the reaper answered for this record: mark it done, tell nothing */
	/* Of a claim: another record has the id. */
	LEASE_VERDICT_DUPLICATE, /* `holder`, of the same content */
	LEASE_VERDICT_CONFLICT,	 /* `holder`, of other content */
	LEASE_VERDICT_FOREIGN,	 /* one of a topic that is not ours, or what the id's key holds is no lease: ask again later */
	/* Of a renewal, finish, release or abandoning. */
	LEASE_VERDICT_DONE,
	LEASE_VERDICT_GONE, /* missing or another's. Stop the job now, publish nothing */
	/* Redis did not answer in time: nothing is known. */
	LEASE_VERDICT_UNKNOWN,
	LEASE_VERDICT_COUNT
};

struct lease_grant {
	enum lease_verdict verdict;
	uint64_t token;
	uint32_t attempt;	   /* from 1 */
	uint64_t deadline_mono_ms; /* local monotonic end of the lease, grace not included */
	struct record_place holder; /* valid with DUPLICATE and CONFLICT: the record that has the id. Its topic is the config's pointer */
};

const char *lease_verdict_name(enum lease_verdict verdict);

/* The answer to a claim of `n` ids, at least one: a line for each, the verdict and what belongs to it. Fills verdict, token, attempt and
 * holder, who is of one of the topics; the deadline is the caller's. 0, or -EBADMSG with `err` filled; an error reply too. `grants` is
 * undefined then. */
int lease_reply_claims(const struct redisReply *reply, size_t n, const char *const *topics, size_t n_topics,
		       struct lease_grant *grants, struct err *err);

/* The answer to a renewal, finish or release of `n` leases: DONE or GONE. */
int lease_reply_verdicts(const struct redisReply *reply, size_t n, struct lease_grant *grants, struct err *err);
