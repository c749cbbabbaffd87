/* The sweep: looks for workspaces on this host that nobody holds, and has them erased.
 *
 *	list   the lane names, one by one, every workspace of which something is on this host
 *	look   Redis says of each, a batch at a time, whether somebody holds it; what nobody has held for long enough
 *	       is erased (reaper/leftovers.h says for how long; reaper/reap_batch.h does it)
 *
 * A listing that is not complete forgets nothing: what it did not name may be there all the same. When the lane is
 * lost over it, the next listing comes after a pause that doubles each time, because what hangs with a disk hangs
 * again with the same disk; what is known already is looked at in any case.
 *
 * The owner (reaper/reaper.c) says when a step begins, so that a sweep stops between any two. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/own.h"
#include "lane/client.h"
#include "reaper/leftovers.h"

struct host_sweep;

struct host_sweep_config {
	struct lane_client *lane;
	uint64_t lease_ms, grace_ms;
	bool (*is_stopping)(void *ctx);		      /* between two names; true ends the listing there */
	void (*on_listed)(void *ctx);		      /* look now */
	void (*on_fault)(void *ctx, const char *why); /* no memory */
	void *ctx;
};

int host_sweep_new(const struct host_sweep_config *config, struct host_sweep **ret, struct err *err);

/* A scan of leases is over. True: the sweep is due, and stays so until host_sweep_list(). */
bool host_sweep_is_due(struct host_sweep *sweep);

/* List, then on_listed, never from inside the call. */
void host_sweep_list(struct host_sweep *sweep);

/* After on_listed: the next workspaces to ask Redis about; 0: all have been. Their ids are borrowed until the next
 * listing. */
size_t host_sweep_next(struct host_sweep *sweep, struct leftover_find out[REAP_BATCH_MAX]);

/* What Redis answered of one. */
void host_sweep_judge(struct host_sweep *sweep, const char *vm_id, enum reap_hold hold);

/* The connection to Redis was made or lost. */
void host_sweep_trust_all(struct host_sweep *sweep);

/* Something of it could not be erased, here or in a batch of leases. `id`: of its task; "-": not known. */
void host_sweep_note_left(struct host_sweep *sweep, const char *vm_id, const char *id, const char *why);

void host_sweep_free(struct host_sweep *sweep);

DEFINE_FREEP(struct host_sweep, host_sweep_free)
