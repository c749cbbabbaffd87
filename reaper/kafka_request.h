/* What the reaper's engine asks of its Kafka process, over SOCK_SEQPACKET: one request, one reply, in turn. Both are
 * structs of one build; the Kafka process ends at anything that is no request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/reap.h"

#define KAFKA_REQUEST_MAGIC 0x4d464b31u /* "MFK1" */

enum kafka_op {
	KAFKA_OP_LOOKUP,   /* did the workers mark the record done? */
	KAFKA_OP_FENCE,	   /* the same; where not, fence `victim` and look again: the answer is final */
	KAFKA_OP_ANNOUNCE, /* enter into the ledger that a result is to be told. NOT_TOLD: it is entered */
	KAFKA_OP_TELL,	   /* tell `lost` or `expired` of what was announced, or withdraw the announcement */
	KAFKA_OP_TIDY,	   /* no items: commit all ledgers again, without announcements that nobody stands by */
	KAFKA_OP_COUNT
};

enum kafka_verdict {
	KAFKA_VERDICT_FAILED,	   /* nothing is known: see the reply's error */
	KAFKA_VERDICT_NOT_TOLD,	   /* nobody has told a result of the record */
	KAFKA_VERDICT_TOLD,	   /* a worker marked it done, or a reaper told it */
	KAFKA_VERDICT_HAS_WORKERS, /* of ANNOUNCE: not announced, because there are workers, who will come to it */
	KAFKA_VERDICT_COUNT
};

struct kafka_item {
	struct reap_lease lease;
	bool is_expired;   /* the life of its workspace ended under its worker: `expired`, else `lost` */
	bool is_withdrawn; /* of TELL: not to be told after all, somebody else has the lease */
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
