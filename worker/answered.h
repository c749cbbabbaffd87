/* Was this record answered? Redis may have forgotten, so Kafka is asked: a record is answered when the workers' group
 * has marked it done, or when the reapers' ledger has it as told. What this worker knows of its own partitions is not
 * asked for.
 *
 * Questions that come while others are being asked wait for the next look-up: an answer is never older than its
 * question. */
#pragma once

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "bus/committed.h"
#include "wire/record_place.h"
#include "worker/partitions.h"

enum answered_verdict {
	ANSWERED_VERDICT_OPEN,	/* nobody has answered it */
	ANSWERED_VERDICT_ANNOUNCED, /* a reaper is about to */
	ANSWERED_VERDICT_TOLD,	/* a reaper has */
	ANSWERED_VERDICT_DONE,	/* a worker has */
	ANSWERED_VERDICT_UNKNOWN,	/* just being answered here, or Kafka does not say: ask again later */
	ANSWERED_VERDICT_COUNT
};

typedef void (*answered_fn)(void *ctx, enum answered_verdict verdict);

/* Part of whoever asks. Zero-initialise. */
struct answered_question {
	TAILQ_ENTRY(answered_question) link;
	struct answered_questions *list; /* NULL: it does not wait for an answer */
	struct record_place place;
	answered_fn fn;
	void *ctx;
	enum answered_verdict verdict; /* as far as it is known */
};

struct answered;

struct answered_config {
	const char *group; /* the workers' */
	struct committed *committed;   /* borrowed */
	struct partitions *partitions; /* borrowed */
};

int answered_new(struct event_base *base, const struct answered_config *config, struct answered **ret, struct err *err);

/* Answers once, never from inside the call. The question is not out yet, and may be asked again when it is answered. */
void answered_ask(struct answered *answered, struct answered_question *question, const struct record_place *place, answered_fn fn,
		  void *ctx);

/* No answer will come any more, if one was to come. */
void answered_forget(struct answered_question *question);

void answered_free(struct answered *answered);
