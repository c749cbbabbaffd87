/* What Redis answers to the scripts of bus/lease_scripts.h, into grants. Pure, and strict: an answer that is not
 * exactly what the script can say is refused as a whole, because a half-believed lease is worse than none. */
#pragma once

#include <stddef.h>

#include "bus/lease.h"

struct redisReply;

/* The answer to a claim of `n` ids: three integers each. Fills verdict, token and attempt; the deadline is the
 * caller's. 0, or -EBADMSG with `err` filled; an error reply too. `grants` is undefined then. */
int lease_reply_claims(const struct redisReply *reply, size_t n, struct lease_grant *grants, struct err *err);

/* The answer to a renewal, finish or release of `n` leases: CLAIMED (still or until now yours) or GONE. */
int lease_reply_verdicts(const struct redisReply *reply, size_t n, struct lease_grant *grants, struct err *err);
