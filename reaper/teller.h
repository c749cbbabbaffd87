/* The teller: the reaper's process for Kafka, whose calls block. It answers whether a record's result was told,
 * fences dead workers, and tells the results of tasks that nobody may run any more, each exactly once.
 *
 * All reapers of a fleet share one transactional id and one ledger (reaper/ledger.h), committed in the transaction
 * that tells the results. Whoever starts its producer fences the others and only then reads the ledger; so a
 * transaction commits only if the ledger it was built on is still the last one. Announcements are of the producer that made them:
 * whoever starts one withdraws all that are there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/reap.h"
#include "reaper/settings.h"

#define TELLER_MAGIC	   0x4d465431u /* "MFT1" */
#define TELLER_PATIENCE_MS 120000      /* of who asks: some Kafka calls of 10 s each, one after the other */

enum teller_op {
	TELLER_OP_LOOKUP, /* did the workers mark the record done? */
	TELLER_OP_FENCE,  /* the same, and where not, fence `victim` and look again: the answer is final */
	TELLER_OP_ANNOUNCE, /* enter into the ledger that a result is to be told, unless it is told, marked done or wanted; NOT_TOLD: it is entered */
	TELLER_OP_TELL,	  /* tell lost or expired what was announced, or withdraw the announcement */
	TELLER_OP_TIDY,	  /* no items: keep all ledgers from being forgotten, without announcements that nobody stands by */
	TELLER_OP_COUNT
};

enum teller_verdict {
	TELLER_VERDICT_FAILED,
	TELLER_VERDICT_NOT_TOLD,
	TELLER_VERDICT_TOLD,
	TELLER_VERDICT_WANTED, /* it was an orphan, and there are workers: they will come to its record */
	TELLER_VERDICT_COUNT
};

struct teller_item {
	struct reap_lease lease;
	bool is_expired; /* the life of its workspace ended under its worker: `expired`, else `lost` */
	bool is_withdrawn; /* not to be told after all: somebody else has the lease */
};

struct teller_request {
	uint32_t magic, op;
	uint32_t n;
	struct teller_item items[REAP_BATCH_MAX];
};

struct teller_reply {
	uint32_t magic, op;
	uint32_t n;
	uint8_t verdicts[REAP_BATCH_MAX];
	char error[240]; /* "" or why some failed */
};

/* Bytes of a request with `n` items. */
static inline size_t teller_request_len(uint32_t n)
{
	return offsetof(struct teller_request, items) + n * sizeof(struct teller_item);
}

/* Serves `fd` until it ends; answers the exit status. */
int teller_main(int fd, const struct reaper_settings *settings);
