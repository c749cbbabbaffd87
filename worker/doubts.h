/* Was this record answered? Redis may have forgotten, so Kafka is asked: a record is answered when the workers' group has marked
 * it done, or when the reapers' ledger has it as told. What this worker knows of its own partitions is not asked for.
 *
 * Questions that come while others are being asked wait for the next look-up: an answer is never older than its question. */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/committed.h"
#include "wire/record_place.h"
#include "worker/partitions.h"

enum doubt_answer {
	DOUBT_ANSWER_OPEN,	/* nobody has answered it */
	DOUBT_ANSWER_ANNOUNCED, /* a reaper is about to */
	DOUBT_ANSWER_TOLD,	/* a reaper has */
	DOUBT_ANSWER_DONE,	/* a worker has */
	DOUBT_ANSWER_UNKNOWN,	/* just being answered here, or Kafka does not say: ask again later */
	DOUBT_ANSWER_COUNT
};

typedef void (*doubt_fn)(void *ctx, enum doubt_answer answer);

struct doubts;

struct doubts_config {
	const char *group; /* the workers' */
	struct committed *committed;   /* borrowed */
	struct partitions *partitions; /* borrowed */
};

int doubts_new(struct event_base *base, const struct doubts_config *config, struct doubts **ret, struct err *err);

/* Answers once, never from inside the call. One question per `ctx`. */
void doubts_ask(struct doubts *doubts, const struct record_place *place, doubt_fn fn, void *ctx);

/* No answer will come for this ctx any more. */
void doubts_forget(struct doubts *doubts, const void *ctx);

void doubts_free(struct doubts *doubts);
