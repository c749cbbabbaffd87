/* The Kafka consumer group member, inside the libevent loop. It never commits: offsets travel in the publisher's
 * transactions (bus/publisher.h).
 *
 * On every assignment it looks up the group's committed offset and metadata of each partition without blocking the loop,
 * tells the owner, and starts each partition where the owner says. A partition that cannot be read where it is (its records were
 * deleted) is never moved silently: the positions of the whole assignment are looked up anew, and the owner is told. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/committed.h"

struct consumer;

#define CONSUMER_BEGINNING (-2) /* as a start: the first record that there is, as librdkafka says it */

struct consumer_config {
	const char *brokers;
	const char *group;       /* consumer group id */
	const char *instance_id; /* static membership: a restarted worker takes its partitions back at once */
	const char *topic;
	struct committed *committed; /* of that topic; borrowed. It answers nobody after consumer_free(): free it before */
	unsigned session_timeout_ms;
	unsigned per_turn;       /* records handed out in one turn of the loop; at least 1 */
};

struct consumer_record {
	int32_t partition;
	int64_t offset;
	int64_t time_ms; /* the record's timestamp, 0 when it has none */
	const uint8_t *data; /* borrowed during the callback; NULL for a tombstone */
	size_t len;
	const void *key;
	size_t key_len;
};

struct consumer_position {
	int32_t partition;
	int64_t committed;    /* next offset to read, or -1 when the group never committed here */
	const char *metadata; /* NUL-terminated, "" when there is none */
	int64_t start;        /* out: where to start; preset to committed or the beginning */
	int64_t unreadable;   /* -1, or where it was read and Kafka has nothing any more: below the log's start, or beyond its end */
};

struct consumer_events {
	/* At most `consumer_config.per_turn` records per turn of the loop. */
	void (*on_record)(void *ctx, const struct consumer_record *record);
	/* The whole new assignment, after the look-up. The owner may change `start`. */
	void (*on_assigned)(void *ctx, struct consumer_position *positions, size_t n);
	/* Nothing is assigned until the next on_assigned. Records already delivered may belong to others now. */
	void (*on_revoked)(void *ctx);
	/* There is nothing more to deliver before this offset, now. */
	void (*on_end)(void *ctx, int32_t partition, int64_t offset);
	/* Fatal: the consumer is of no more use. Another process has its name, or there is no memory. */
	void (*on_fault)(void *ctx, const struct err *err);
};

int consumer_new(struct event_base *base, const struct consumer_config *config, const struct consumer_events *events,
		 void *ctx, struct consumer **ret, struct err *err);

/* Back-pressure: no records, of all partitions, until it is resumed; what was fetched waits. Idempotent; survives a rebalance;
 * membership goes on. */
void consumer_pause_all(struct consumer *consumer);
void consumer_resume_all(struct consumer *consumer);

/* The same for one partition, beside that; its records in flight are fetched again. */
void consumer_pause(struct consumer *consumer, int32_t partition);
void consumer_resume(struct consumer *consumer, int32_t partition);

/* Pause a partition and deliver its records from `offset` on again once it is resumed. */
void consumer_rewind(struct consumer *consumer, int32_t partition, int64_t offset);

/* The end of the partition's log as the last fetch saw it: every record below it was sent before this call. At least 0; never
 * asks the brokers. */
int64_t consumer_log_end(struct consumer *consumer, int32_t partition);

/* The librdkafka handle of this turn of the loop, for rd_kafka_consumer_group_metadata(): another one may follow it. */
void *consumer_handle(struct consumer *consumer);

/* Leave the group (unless a static member) and free. Blocks up to a few seconds: only at the end of a process. */
void consumer_free(struct consumer *consumer);
