/* The publisher: one thread that owns the transactional producer, because its calls block. A batch is terminal results,
 * dead letters and the consumer's offsets in one Kafka transaction: all of it is told, or none.
 *
 * The loop's side hands over one batch at a time and collects finished work meanwhile: group commit without a timer. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct consumer;
struct publisher;

struct publisher_config {
	const char *brokers;
	const char *transactional_id; /* one per process start; the reaper fences it when it declares this worker dead */
	const char *group;            /* whose offsets are committed */
	unsigned transaction_timeout_ms;
};

#define PUBLISH_MESSAGE_MAX_BYTES (16 * 1024 * 1024) /* ours; a topic's max.message.bytes may be less */

#define PUBLISH_HEADERS_MAX 6
#define PUBLISH_HEADER_MAX 249 /* bytes of a value: Kafka's longest topic name */

struct publish_headers {
	size_t n;
	struct publish_header {
		const char *name; /* a literal */
		char value[PUBLISH_HEADER_MAX + 1];
	} headers[PUBLISH_HEADERS_MAX];
};

struct publish_message {
	const char *topic;
	const void *key; /* NULL: none */
	size_t key_len;
	const void *data; /* NULL: a tombstone */
	size_t len;
	const struct publish_headers *headers; /* NULL: none */
	bool *is_refused; /* NULL, or set before the batch is REFUSED because of it: too large for its topic, even alone */
};

struct publish_offset {
	const char *topic;
	int32_t partition;
	int64_t next;         /* offset to commit: the next one to read */
	const char *metadata; /* printable, NUL-terminated, <= 4096 bytes */
};

/* Borrowed until on_done. */
struct publish_batch {
	const struct publish_message *messages;
	size_t n_messages;
	const struct publish_offset *offsets;
	size_t n_offsets;
};

enum publish_verdict {
	PUBLISH_VERDICT_COMMITTED,
	/* Nothing was told (a rebalance, a broker that is away or was, a producer that was not there yet). The owner looks
	 * again what it may still tell, since time has passed, and hands that over with the offsets of now. */
	PUBLISH_VERDICT_ABORTED,
	/* Nothing was told, because something was too large for its topic: those messages' is_refused are set, or, when it is not
	 * known yet which they are, none. Hand over at once what may be told without them: the publisher is more careful then. */
	PUBLISH_VERDICT_REFUSED,
	PUBLISH_VERDICT_FENCED, /* this worker was declared dead: stop, publish nothing more */
	PUBLISH_VERDICT_COUNT
};

/* `consumer` (borrowed; bus/consumer.h) may be NULL: then the offsets of a batch are committed for `group` as by a plain
 * client without membership (the reaper's ledger). `on_done` runs in the loop. Starting does init_transactions in the
 * thread, until a broker is there; a batch that came before is answered ABORTED then, an empty one COMMITTED. */
int publisher_new(struct event_base *base, const struct publisher_config *config, struct consumer *consumer,
		  void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why), void *ctx,
		  struct publisher **ret, struct err *err);

/* One batch at a time: a second one before on_done is a bug (assert). */
void publisher_submit(struct publisher *publisher, const struct publish_batch *batch);

/* Stop the thread: waits for the call in flight, which takes transaction_timeout_ms at most, and for the next step of the batch.
 * on_done does not run any more. */
void publisher_free(struct publisher *publisher);

/* Fence whoever uses `transactional_id`: afterwards no batch that it was handed before can be committed. One that is handed over
 * later can, after the fenced publisher had to start anew: so the fence comes after what entitles it to publish (the lease) was
 * taken away. Blocks up to timeout_ms. */
int publisher_fence(const char *brokers, const char *transactional_id, unsigned timeout_ms, struct err *err);
