/* What became of a transaction whose outcome the producer does not know. Asked after a new producer with the same
 * transactional id is there (rd_kafka_init_transactions() completes or aborts what was open), so that the answer is
 * final. Blocking. */
#pragma once

#include "base/err.h"
#include "bus/publish.h"

/* A message of the transaction that the broker has acknowledged. A committed transaction has had all of its messages
 * acknowledged before its commit was sent, so without a witness it was not committed, unless it had no messages. */
struct transaction_witness {
	const char *topic; /* NULL: there is none */
	int32_t partition;
	int64_t offset;
};

enum transaction_verdict {
	TRANSACTION_VERDICT_COMMITTED,
	TRANSACTION_VERDICT_ABORTED,
	TRANSACTION_VERDICT_UNKNOWN, /* the broker did not say within timeout_ms: ask again */
	TRANSACTION_VERDICT_COUNT
};

/* A batch without messages is judged by the group's committed positions: it tells nothing, so that committing it
 * again does no harm. Positions do not judge messages: a partition may have moved, and gone on, meanwhile. */
enum transaction_verdict transaction_check(const struct publisher_config *config, const struct publish_batch *batch,
				       const struct transaction_witness *witness, unsigned timeout_ms);
