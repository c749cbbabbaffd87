/* The publisher: one thread that owns the transactional producer, because its calls block. A batch is terminal results,
 * dead letters and the consumer's offsets in one Kafka transaction: all of it is told, or none.
 *
 * The loop's side hands over one batch at a time and collects finished work meanwhile: group commit without a timer. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "bus/publish.h"

struct consumer;
struct publisher;

/* `consumer` (borrowed; bus/consumer.h) may be NULL: then the offsets of a batch are committed for `group` as by a
 * plain client without membership (the reaper's ledger). `on_done` runs in the loop. Starting does init_transactions
 * in the thread, until a broker is there; a batch that came before is answered ABORTED then, an empty one COMMITTED. */
int publisher_new(struct event_base *base, const struct publisher_config *config, struct consumer *consumer,
		  void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why), void *ctx,
		  struct publisher **ret, struct err *err);

/* One batch at a time: a second one before on_done is a bug (assert). */
void publisher_submit(struct publisher *publisher, const struct publish_batch *batch);

/* Stop the thread: waits for the call in flight, which takes transaction_timeout_ms at most, and for the next step
 * of the batch. on_done does not run any more. */
void publisher_free(struct publisher *publisher);
