/* The names of what leases keep in Redis. All share the hash tag {mayfly}: one slot of a cluster. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* schemas/lease.md has the bounds of all fields. */
#define LEASE_NUMBER_MAX  ((INT64_C(1) << 53) - 1) /* of tokens and times: what Lua's numbers hold exactly */
/* expires_ms of what has no workspace that could outlive its ttl_ms: an orphan, or a lease whose worker was last heard before
 * that end. As a deadline: the reaper need not look. */
#define LEASE_NEVER_MS LEASE_NUMBER_MAX
#define LEASE_ATTEMPT_MAX 1000000 /* far beyond any max_attempts; a larger one was not written by our scripts */
#define LEASE_CONTENT_MAX 32 /* hexadecimal digits: half of a SHA-256 */

struct lease_keys {
	char deadlines[96];    /* sorted set: id -> when the reaper must look (Redis time, ms) */
	char lease_prefix[96]; /* + id: a line of text */
	char token[96];	       /* the highest fencing token ever given */
	char vms_prefix[96];   /* + host: a hash, vm_id -> task id */
};

#define LEASE_KEYS_COUNT 4

/* ERR_INPUT when the prefix is not an identifier (base/ident.h). */
int lease_keys_name(const char *prefix, struct lease_keys *ret, struct err *err);
