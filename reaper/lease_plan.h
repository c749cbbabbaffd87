/* What does the reaper do with a lease that it took, and with what becomes known of it? Pure.
 *
 *	state of the lease   plan    what is done
 *	running, reaping     REAP    erase its objects, fence its worker; then: told -> the lease is deleted,
 *	                             else -> ORPHAN or ENDED (lease_plan_after_fence)
 *	orphan, ended        TELL    announce, confirm, tell its result
 *	told                 WATCH   has a worker marked the record done? Then the lease is deleted
 *	(no lease)           ERASE   erase its objects
 *
 * An orphan that is due was claimed by no worker for lost_after_ms. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bus/reap.h"

enum lease_plan {
	LEASE_PLAN_LEAVE, /* nothing, or nothing more */
	LEASE_PLAN_REAP,
	LEASE_PLAN_ERASE,
	LEASE_PLAN_TELL,
	LEASE_PLAN_WATCH,
	LEASE_PLAN_COUNT
};

enum lease_plan lease_plan_of(enum reap_state state);

/* Did the workspace live to the end of its ttl_ms? Yes when its worker renewed the lease after that; it ended the
 * task then, or should have. A worker that was last heard before is a worker that died: its task is tried again, in a
 * workspace with a life of its own, however late we look; from then on the lease never expires (its expires_ms is
 * changed). */
bool lease_plan_is_expired(struct reap_lease *lease, uint64_t lease_ms, uint64_t now_ms);

/* Its worker is fenced and nobody told its result: shall another worker try (ORPHAN), or is it over (ENDED)? */
enum reap_verb lease_plan_after_fence(bool is_expired, uint32_t attempt, uint32_t max_attempts);
