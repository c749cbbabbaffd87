/* What is published together, and what became of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
