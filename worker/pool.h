/* The pool: workspaces that are ready before there is a task for them, so that a task that finds one of its shape does not wait for a
 * microVM to start.
 *
 * Theory of operation. Each is like any other workspace, with a disk, a key and a guard deadline of its own; but its plan has no lease, it is
 * held (workspace/held_vms.h), its reservation is an idle one (workspace/admission.h), and it has an end of its own: its age.
 *
 * MAKING  its stages start. Next: READY; ENDING.
 * READY   waits. Next: LENT; ENDING: too old, not wanted any more, its hold is not sure, a task needs its room, the host is under
 *         pressure, its template is stale, it broke, the worker drains.
 * LENT    a job has its id in a claim, but not the lease yet; its events still come here. The reservation is an active one. Next: the
 *         job's, by workspace_adopt(), and forgotten here; READY, when no lease can name it; ENDING.
 * ENDING  as of a workspace. Next: gone.
 *
 * A workspace is used once: who adopted it ends it. Nothing of a task was in it before, so what broke it is never a task's fault, and
 * what was going on in it matters to none.
 *
 * How many: per shape what pool_demand.h says, all together no more than `max`, nor than `memory_mib` as admission counts idle ones.
 * They are made in the background, few at a time, and given up as soon as a task needs what they hold: before it waits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "worker/workspace/shape.h"

struct pool;
struct pooled;
struct template;
struct templates;
struct workspace;
struct workspace_events;
struct workspace_host;
struct workspace_plan;

#define POOL_MAKING_MAX 2  /* at a time: half of what a small host can make at once */

struct pool_config {
	const struct workspace_host *workspaces; /* lent */
	struct templates *templates; /* NULL: they boot. Lent */
	uint32_t max;
	uint64_t memory_mib;
	uint64_t age_ms;	    /* that they reach */
	void (*on_room)(void *ctx); /* a reservation was given back */
	void *ctx;
};

struct pool_count {
	size_t making, ready, lent, ending;
	uint64_t hits, misses; /* so far: workspaces that jobs took, and those that they made themselves */
	uint64_t made, failed; /* made in vain: broke before it was taken */
	uint64_t expired;      /* too old, or not wanted any more */
	uint64_t evicted;      /* for a task that needed the room, or under pressure */
	uint64_t lost;	       /* lent, and broke before the job had its lease, or could not be adopted */
};

struct pool *pool_new(const struct pool_config *config); /* NULL: out of memory */
void pool_free(struct pool *pool); /* accepts NULL; only an empty one */

/* All of these accept NULL for the pool: there is none. */

/* One of this shape, lent; its reservation is active. NULL: there is none, or there is no room for a task now. */
struct pooled *pool_take(struct pool *pool, const struct shape *shape);
struct workspace *pooled_workspace(struct pooled *pooled);

/* A job of this shape was admitted without one. */
void pool_miss(struct pool *pool, const struct shape *shape);

/* A job of this shape finds no room: if giving up some helps, they go. */
void pool_make_room(struct pool *pool, const struct shape *shape);

/* The lease names it: it becomes the caller's, who fills ttl_ms, use_ms and owner_id of the plan; the rest is filled here, and the template
 * that it is a clone of, if it is one, is the caller's to give back. on_ready follows. NULL: it broke, or could not be given the
 * deadline of that plan; then it is given back. */
struct workspace *pool_hand_over(struct pool *pool, struct pooled *pooled, struct workspace_plan *plan, struct template **ret_template,
				 const struct workspace_events *events, void *ctx);

/* Not used after all. `may_be_named`: there may be a lease with its id, which nobody else may have then. */
void pool_give_back(struct pool *pool, struct pooled *pooled, bool may_be_named);

void pool_tick(struct pool *pool, uint64_t now_mono_ms); /* every 100 ms or so */
void pool_drain(struct pool *pool); /* makes no more, and ends all */
struct pool_count pool_count(const struct pool *pool);
