/* Inside a batch: its state, and its steps. reap_batch.c has their order, a file each has those of Redis, Kafka and
 * the lane; what they share is in reap_batch_steps.c. */
#pragma once

#include "reaper/kafka_request.h"
#include "reaper/leftovers.h"
#include "reaper/lease_plan.h"
#include "reaper/reap_batch_config.h"

#define WHY_BYTES 320 /* the name of an operation and what the lane said of it */

struct batch_item {
	struct kafka_item what;
	enum lease_plan plan;
	enum reap_verb verb; /* for the next settle or close; NONE: nothing is to be written */
	bool is_vm_gone;     /* after erase: no process of it is left, or there was none */
	bool is_announced;   /* after announce: in the ledger, and not told yet */
};

struct reap_batch;

/* Starts its step and answers true, or has nothing to do. */
typedef bool (*batch_step_fn)(struct reap_batch *batch);

struct reap_batch {
	struct reap_batch_config config;
	const batch_step_fn *steps; /* in their order; NULL ends them */
	unsigned step;
	uint64_t now_ms;	     /* Redis's clock when a batch of leases began */
	uint64_t ours_until_mono_ms; /* afterwards another reaper may have given a lease to a worker, here */
	struct batch_item items[REAP_BATCH_MAX];
	size_t n;				    /* 0: no batch is on its way */
	struct leftover_find finds[REAP_BATCH_MAX]; /* of a batch of leftovers only */
	size_t chosen[REAP_BATCH_MAX];		    /* items of the request at hand */
	size_t n_chosen;
	struct {			  /* valid in step erase only */
		size_t at;		  /* index of the item */
		unsigned op;		  /* which of its operations */
		bool has_failed;	  /* something could not be erased in this batch */
		char why_left[WHY_BYTES]; /* the first failure with this item; "": none */
	} erase;
	uint64_t obstacles
		[KAFKA_OP_COUNT]; /* log_likeness() of why it failed the last time; 0: it did not. Outlives the batch */
};

bool step_take(struct reap_batch *batch);
bool step_erase(struct reap_batch *batch);
bool step_note(struct reap_batch *batch);
bool step_fence(struct reap_batch *batch);
bool step_settle(struct reap_batch *batch); /* close is the same again */
bool step_announce(struct reap_batch *batch);
bool step_confirm(struct reap_batch *batch);
bool step_tell(struct reap_batch *batch);
bool step_lookup(struct reap_batch *batch);

/* From the step at hand on, over those that have nothing to do. */
void reap_batch_run(struct reap_batch *batch);

/* How a step that was started ends: with the next one, or with the batch. */
void reap_batch_end_step(struct reap_batch *batch);
void reap_batch_end(struct reap_batch *batch);

/* Makes `chosen` the items of this plan of which nothing is decided yet; false: there are none. */
bool reap_batch_choose(struct reap_batch *batch, enum lease_plan plan);
