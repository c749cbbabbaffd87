/* Reports: what is to be told, collected into one Kafka transaction after another.
 *
 * While one batch is being committed the next one collects: group commit without a timer. A batch that was aborted goes to
 * the front of the next one; an item whose record is not ours any more is dropped, because its record will be delivered
 * again. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "bus/consumer.h"
#include "bus/publisher.h"
#include "bus/topics.h"
#include "worker/dead_letter.h"
#include "worker/partitions.h"

struct report;

struct report_config {
	struct publisher_config publisher;
	const struct topics *topics; /* borrowed */
	void (*on_plan)(void *ctx);  /* a transaction is about to be made */
};

/* on_fenced: this worker was declared dead; the process must end. */
int report_new(struct event_base *base, const struct report_config *config, struct consumer *consumer,
	       struct partitions *partitions, void (*on_fenced)(void *ctx, const char *why), void *ctx,
	       struct report **ret, struct err *err);

struct report_source {
	int32_t partition;
	int64_t offset;
	uint64_t epoch;
};

/* told: it is committed; else it was dropped. From the loop, never from inside report_add(). */
typedef void (*report_fn)(void *ctx, bool is_told);

/* The record is answered: publish `result` (may be empty: nothing to tell) under `key`, `dead` (may be NULL) to the dead
 * letters, and the record's offset, together or not at all. What its topic refuses for its size holds up nobody else: a dead letter
 * is left out, a result is told in a shorter form (result_shorten()), and when even the shortest is refused, it is tried again every
 * few seconds. Takes the bytes of `result` and the allocation `dead`. `fn` may be NULL. `lease_ends_mono_ms` (borrowed until fn;
 * NULL: no lease) is looked at again before each try: when the lease is over, somebody else may answer, and the item is dropped.
 * 0 or -ENOMEM (then nothing was taken). */
int report_add(struct report *report, const struct report_source *source, const char *key, struct buf *result,
	       struct dead_letter *dead, const uint64_t *lease_ends_mono_ms, report_fn fn, void *ctx);

/* Nothing of this range will come: mark it as done; when records of it are lost (loss->records), tell that on the dead-letter topic,
 * in the same transaction. Then partition_range_is_done(). 0 or -ENOMEM. */
int report_add_range(struct report *report, const struct partition *partition, const struct partition_loss *loss);

/* Hand over a batch if there is something to tell and nothing in flight. Called after rebalances and by itself. */
void report_pump(struct report *report);

/* Bytes that are not committed yet. */
size_t report_backlog(const struct report *report);

bool report_is_idle(const struct report *report);
void report_free(struct report *report); /* waits for the batch in flight */
