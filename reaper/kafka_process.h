/* The reaper's process that speaks to Kafka, because those calls block. It answers whether a record's result was told,
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

#define KAFKA_PROCESS_MAGIC	   0x4d465431u /* "MFT1" */
#define KAFKA_PROCESS_PATIENCE_MS 120000      /* of who asks: some Kafka calls of 10 s each, one after the other */

enum kafka_op {
	KAFKA_OP_LOOKUP, /* did the workers mark the record done? */
	KAFKA_OP_FENCE,  /* the same, and where not, fence `victim` and look again: the answer is final */
	KAFKA_OP_ANNOUNCE, /* enter into the ledger that a result is to be told, unless it is told, marked done or wanted; NOT_TOLD: it is entered */
	KAFKA_OP_TELL,	  /* tell lost or expired what was announced, or withdraw the announcement */
	KAFKA_OP_TIDY,	  /* no items: keep all ledgers from being forgotten, without announcements that nobody stands by */
	KAFKA_OP_COUNT
};

enum kafka_verdict {
	KAFKA_VERDICT_FAILED,
	KAFKA_VERDICT_NOT_TOLD,
	KAFKA_VERDICT_TOLD,
	KAFKA_VERDICT_HAS_WORKERS, /* it was an orphan, and there are workers: they will come to its record */
	KAFKA_VERDICT_COUNT
};

struct kafka_item {
	struct reap_lease lease;
	bool is_expired; /* the life of its workspace ended under its worker: `expired`, else `lost` */
	bool is_withdrawn; /* not to be told after all: somebody else has the lease */
};

struct kafka_request {
	uint32_t magic, op;
	uint32_t n;
	struct kafka_item items[REAP_BATCH_MAX];
};

struct kafka_reply {
	uint32_t magic, op;
	uint32_t n;
	uint8_t verdicts[REAP_BATCH_MAX];
	char error[240]; /* "" or why some failed */
};

/* Bytes of a request with `n` items. */
static inline size_t kafka_request_len(uint32_t n)
{
	return offsetof(struct kafka_request, items) + n * sizeof(struct kafka_item);
}

/* Serves `fd` until it ends; answers the exit status. */
int kafka_process_main(int fd, const struct reaper_settings *settings);
