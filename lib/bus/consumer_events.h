/* What a consumer tells its owner. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/record_place.h"

#define CONSUMER_BEGINNING (-2) /* as a start: the first record that there is, as librdkafka says it */

/* Topics are the pointers of consumer_config.topics, here and below. */
struct consumer_record {
	struct record_place place;
	int64_t time_ms; /* the record's timestamp, 0 when it has none */
	const uint8_t *data; /* borrowed during the callback; NULL for a tombstone */
	size_t len;
	const void *key;
	size_t key_len;
};

struct consumer_position {
	const char *topic;
	int32_t partition;
	int64_t committed;    /* next offset to read, or -1 when the group never committed here */
	const char *metadata; /* NUL-terminated, "" when there is none */
	int64_t start;        /* out: where to start; preset to committed or the beginning */
	int64_t unreadable;   /* -1, or where it was read and Kafka has nothing any more: outside of the log */
};

struct consumer_events {
	/* At most `consumer_config.per_turn` records per turn of the loop. */
	void (*on_record)(void *ctx, const struct consumer_record *record);
	/* The whole new assignment, after the look-up. The owner may change `start`. */
	void (*on_assigned)(void *ctx, struct consumer_position *positions, size_t n);
	/* Nothing is assigned until the next on_assigned. Records already delivered may belong to others now. */
	void (*on_revoked)(void *ctx);
	/* There is nothing more to deliver before this place, now. */
	void (*on_end)(void *ctx, const struct record_place *end);
	/* Fatal: the consumer is of no more use. Another process has its name, or there is no memory. */
	void (*on_fault)(void *ctx, const struct err *err);
};
