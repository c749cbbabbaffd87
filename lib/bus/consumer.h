/* The Kafka consumer group member, inside the libevent loop. It never commits: offsets travel in the publisher's
 * transactions (bus/publisher.h).
 *
 * On every assignment it looks up the group's committed offset and metadata of each partition without blocking the
 * loop, tells the owner, and starts each partition where the owner says. A partition that cannot be read where it is
 * (its records were deleted) is never moved silently: the positions of the whole assignment are looked up anew, and
 * the owner is told. */
#pragma once

#include <event2/event.h>

#include "bus/committed.h"
#include "bus/consumer_events.h"

struct consumer;

struct consumer_config {
	const char *brokers;
	const char *group;       /* consumer group id */
	const char *instance_id; /* static membership: a restarted worker takes its partitions back at once */
	const char *const *topics; /* borrowed for as long as the consumer lives; records name them by these pointers */
	size_t n_topics;           /* at least 1 */
	struct committed *committed; /* borrowed. It answers nobody after consumer_free(): free it before */
	unsigned session_timeout_ms;
	unsigned per_turn;       /* records handed out in one turn of the loop; at least 1 */
};

int consumer_new(struct event_base *base, const struct consumer_config *config, const struct consumer_events *events,
		 void *ctx, struct consumer **ret, struct err *err);

/* Back-pressure: no records, of all partitions, until it is resumed; what was fetched waits. Idempotent; survives a
 * rebalance; membership goes on. */
void consumer_pause_all(struct consumer *consumer);
void consumer_resume_all(struct consumer *consumer);

/* The same for one partition, beside that; its records in flight are fetched again. */
void consumer_pause(struct consumer *consumer, const char *topic, int32_t partition);
void consumer_resume(struct consumer *consumer, const char *topic, int32_t partition);

/* Pause the partition of `place` and deliver its records from there on again once it is resumed. */
void consumer_rewind(struct consumer *consumer, const struct record_place *place);

/* The end of the partition's log as the last fetch saw it: every record below it was sent before this call. At least
 * 0; never asks the brokers. */
int64_t consumer_log_end(struct consumer *consumer, const char *topic, int32_t partition);

/* The librdkafka handle of this turn of the loop, for rd_kafka_consumer_group_metadata(): another one may follow it. */
void *consumer_handle(struct consumer *consumer);

/* Leave the group (unless a static member) and free. Blocks up to a few seconds: only at the end of a process. */
void consumer_free(struct consumer *consumer);
