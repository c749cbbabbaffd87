/* A batch: what is done with up to REAP_BATCH_MAX leases, step by step, all of them together.
 *
 *	take    in Redis: now they are ours, and their workers' renewals answer GONE
 *	erase   on this host: VM, key, files, in this order, as far as it goes in time: nothing that follows depends on it
 *	fence   in Kafka: dead workers; and was the result told?
 *	settle  in Redis: told -> gone; not told -> orphan, or ended when nobody shall try again
 *	announce in Kafka: a result is about to be told
 *	confirm in Redis: it still is ours to tell. A worker claims in Redis first and looks in Kafka then; so one of us sees the other
 *	tell    in Kafka: the results of what has ended; or the announcement is withdrawn
 *	look    in Kafka: has a worker marked what was told earlier?
 *	close   in Redis
 *
 * A reaper may die between and within any two of these: each step can be done again by another reaper, which takes the
 * leases when ours has run out. An item of which Redis or Kafka did not answer is left as it is for that; what could not be
 * erased is found again, without a lease, by looking at the host (reaper/leftovers.h). */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"
#include "bus/reap.h"
#include "reaper/helper_link.h"

struct reap_batch;

struct reap_batch_config {
	struct reap *reap;
	struct helper_link *lane;
	struct helper_link *kafka;
	const char *host;
	unsigned max_attempts;
	unsigned lease_ms; /* what is taken is ours for so long */
	/* Between two steps; true ends the batch there. */
	bool (*is_stopping)(void *ctx);
	/* The batch is over. */
	void (*on_done)(void *ctx);
	/* What reap_heal() answered for a find. */
	void (*on_judged)(void *ctx, const char *id, int64_t number);
	/* Something of it could not be erased. */
	void (*on_left)(void *ctx, const char *id, const char *why);
	/* A helper process answered nonsense. */
	void (*on_fault)(void *ctx, const char *why);
	void *ctx;
};

int reap_batch_new(const struct reap_batch_config *config, struct reap_batch **ret, struct err *err);

/* Leases of a scan at `now_ms`. */
void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms);

/* Workspaces found on this host; their ids are borrowed until on_done. */
void reap_batch_leftovers(struct reap_batch *batch, const struct reap_find *finds, size_t n, uint64_t now_ms);

void reap_batch_free(struct reap_batch *batch);

DEFINE_FREEP(struct reap_batch, reap_batch_free)
