/* Which of the workspaces found on this host have had nobody for long enough to be erased? Pure: a table, a row per
 * workspace.
 *
 *	not listed --(the lane names it)-->                KNOWN
 *	KNOWN      --(Redis: nobody holds it)-->           SUSPECT, since now
 *	SUSPECT    --(Redis: somebody holds it)-->         KNOWN
 *	SUSPECT    --(the connection to Redis is lost)-->  KNOWN
 *	SUSPECT    --(for a lease and the grace)-->        may be erased
 *	KNOWN      --(Redis: the hold on it is over)-->    may be erased, if the next look says so, too
 *	any        --(a whole listing without it)-->       not listed
 *
 * When something of it cannot be erased it stays what it is, and is not tried before a pause is over, which doubles
 * each time. So it is tried for ever.
 *
 * One look is not enough. Redis says "held" of a workspace when a live lease names it and an entry of the host's VM
 * table leads there. A live lease may have no entry for a while: before its first renewal, or when Redis lost the
 * entry. The next renewal writes it. A worker whose lease was not renewed for a whole lease has given the workspace
 * up.
 *
 * A workspace that was made for no task yet has a hold instead, which says until when. That one is over needs no
 * suspicion of a lease, which has passed already; but two looks, between which a worker that is well renews it, should
 * Redis's clock have jumped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ident.h"
#include "bus/reap.h"

#define LEFTOVERS_MAX	       4096  /* workspaces on one host; the rest waits until some are gone */
#define LEFTOVERS_PAUSE_MAX_MS 60000 /* between two tries of erasing the same workspace, unless the grace is longer */

struct leftover {
	char vm_id[IDENT_ID_MAX + 1];
	uint64_t suspect_since_ms; /* monotonic; 0: no suspicion */
	uint64_t not_before_ms;	   /* monotonic; the end of its pause */
	unsigned n_failures;	   /* of erasing it, one after the other */
	bool is_over;		   /* the last answer: its worker held it for no task, and does not any more */
	bool is_listed;		   /* in the listing at hand */
};

/* A workspace to ask Redis about. */
struct leftover_find {
	const char *vm_id;
	bool may_erase; /* if it is free */
	bool may_erase_over; /* if the hold on it is over */
};

struct leftovers {
	uint64_t suspect_ms; /* how long nobody must have held it: a lease and the grace */
	uint64_t grace_ms;
	size_t n;
	struct leftover finds[LEFTOVERS_MAX];
};

void leftovers_list_begin(struct leftovers *leftovers);
void leftovers_list_add(struct leftovers *leftovers, const char *vm_id);
void leftovers_list_end(struct leftovers *leftovers); /* forgets what was not listed */

/* The next finds to ask Redis about, from *cursor (0 at first) on; 0 at the end. The ids are borrowed until the next
 * listing. */
size_t leftovers_next(const struct leftovers *leftovers, size_t *cursor, uint64_t now_mono_ms,
		      struct leftover_find out[REAP_BATCH_MAX]);

/* What Redis answered (bus/reap.h: reap_find). */
void leftovers_judge(struct leftovers *leftovers, const char *vm_id, enum reap_hold hold, uint64_t now_mono_ms);

/* What Redis said before counts no more. */
void leftovers_trust_all(struct leftovers *leftovers);

/* Something of it could not be erased. Answers for how long it is left alone now, and how often that has happened. */
uint64_t leftovers_failed(struct leftovers *leftovers, const char *vm_id, uint64_t now_mono_ms,
			  unsigned *ret_n_failures);
