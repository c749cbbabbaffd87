/* What the lease library answers to a worker, into grants. Pure, and strict: an answer that is not
 * exactly what the library can say is refused as a whole, because a half-believed lease is worse than none. */
#pragma once

#include <stddef.h>

#include "bus/lease.h"

struct redisReply;

/* The answer to a claim of `n` ids: a verdict, two integers and a text each. Fills verdict, token, attempt and holder, who
 * is of one of the topics; the deadline is the caller's. 0, or -EBADMSG with `err` filled; an error reply too. `grants` is undefined then. */
int lease_reply_claims(const struct redisReply *reply, size_t n, const char *const *topics, size_t n_topics,
		       struct lease_grant *grants, struct err *err);

/* The answer to a renewal, finish or release of `n` leases: DONE or GONE. */
int lease_reply_verdicts(const struct redisReply *reply, size_t n, struct lease_grant *grants, struct err *err);
