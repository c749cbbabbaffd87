/* Which of the leases that look due does the reaper act on now? Pure: what it saw before and the clocks come in.
 *
 * - Two scans, one after the other, must show the same id with the same token.
 * - When most leases of the fleet look expired at once, the clock or Redis is more likely to be at fault than all
 *   workers. Then nothing is done (the brake) until a whole lease's time has passed with the same picture.
 * - A lease of another host is left to that host's reaper, which can erase the objects, until that reaper is clearly
 *   not there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/reap.h"

#define DUE_BRAKE_MIN 8 /* fewer expired leases than this are no mass */

struct due_seen {
	char id[IDENT_ID_MAX + 1];
	uint64_t token;
};

struct due_leases {
	const char *host;
	uint64_t lease_ms, grace_ms;
	uint64_t braked_since_mono_ms; /* 0: not braked */
	size_t n_seen;
	struct due_seen seen[REAP_SCAN_MAX];
};

enum due_verdict {
	DUE_VERDICT_NONE, /* nothing to do */
	DUE_VERDICT_ACT,
	DUE_VERDICT_BRAKED, /* a mass expiry that just began */
	DUE_VERDICT_WAIT,   /* the same mass, not yet a lease's time old */
	DUE_VERDICT_COUNT
};

/* On ACT at most REAP_BATCH_MAX leases are copied to `out`, the longest due first. */
enum due_verdict due_leases_select(struct due_leases *due, const struct reap_scan *scan, uint64_t now_mono_ms,
				   struct reap_lease out[REAP_BATCH_MAX], size_t *ret_n);

/* Redis is there (again) and has been up for `uptime_ms`: for how long nothing is done, because leases look missing
 * or expired that are not. `was_here`: we had it before, and workers may have been cut off as we were: they need time
 * to renew. */
uint64_t due_leases_quiet_ms(const struct due_leases *due, uint64_t uptime_ms, bool was_here);

/* Forget what was seen: Redis was away. */
void due_leases_reset(struct due_leases *due);
