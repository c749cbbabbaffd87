/* The outbox: what is to be published, and what is done thereby, in one Kafka transaction after another.
 *
 * An item is a list of messages to any topics, and a source: the record that they answer. The messages and the mark
 * that the record is done are committed together, or not at all. outbox.c says how items move; what a message means
 * is its sender's. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/consumer.h"
#include "bus/publisher.h"
#include "worker/outbox_item.h"
#include "worker/partitions.h"

struct outbox;

struct outbox_config {
	struct publisher_config publisher;
	void (*on_plan)(void *ctx); /* a transaction is about to be made */
};

/* on_fenced: this worker was declared dead; the process must end. */
int outbox_new(struct event_base *base, const struct outbox_config *config, struct consumer *consumer,
	       struct partitions *partitions, void (*on_fenced)(void *ctx, const char *why), void *ctx,
	       struct outbox **ret, struct err *err);

/* The record is answered: publish the messages (there may be none: nothing to tell) and mark it done. `fn` may be
 * NULL. `lease_ends_mono_ms` (borrowed until fn; NULL: no lease) is looked at again before each try: when the lease
 * is over, somebody else may answer, and the item is dropped. 0 or -ENOMEM (then nothing was taken). */
int outbox_add(struct outbox *outbox, const struct outbox_source *source, struct outbox_message *messages, size_t n,
	       const uint64_t *lease_ends_mono_ms, outbox_fn fn, void *ctx);

/* Nothing of [source->place.offset, to) will be delivered: publish the messages and mark the range done. Then
 * partition_range_is_done(). 0 or -ENOMEM (then nothing was taken). */
int outbox_add_range(struct outbox *outbox, const struct outbox_source *source, int64_t to,
		     struct outbox_message *messages, size_t n);

/* Hand over a batch if there is something to tell and nothing in flight. Called after rebalances and by itself. */
void outbox_pump(struct outbox *outbox);

/* Bytes that are not committed yet. */
size_t outbox_backlog(const struct outbox *outbox);

bool outbox_is_idle(const struct outbox *outbox);
void outbox_free(struct outbox *outbox); /* waits for the batch in flight */
