/* Which partitions a group member has, where each starts, and which of them are paused. The consumer's part
 * (bus/consumer.c) that knows rebalances; assignment.c has the theory. */
#pragma once

#include <event2/event.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/own.h"
#include "bus/committed.h"
#include "bus/consumer_events.h"

struct assignment;

struct assignment_config {
	const char *const *topics; /* as in consumer_config, with what follows */
	size_t n_topics;
	const char *group;
	struct committed *committed;
};

/* Calls on_assigned and on_revoked of `events`, which is borrowed. */
int assignment_new(struct event_base *base, const struct assignment_config *config,
		   const struct consumer_events *events, void *ctx, struct assignment **ret, struct err *err);

/* A handle that has joined nothing yet; its records are to come on the queue. Both are borrowed until
 * assignment_close(). */
void assignment_open(struct assignment *assignment, rd_kafka_t *kafka, rd_kafka_queue_t *records);

/* Nothing is assigned any more, and the handle may go. What is paused stays so. Fine when it is not open. */
void assignment_close(struct assignment *assignment);

/* A rebalance event of the handle. */
void assignment_rebalance(struct assignment *assignment, rd_kafka_event_t *event);

/* librdkafka stopped reading there, because there is no such offset (auto.offset.reset=error). */
void assignment_is_unreadable(struct assignment *assignment, const rd_kafka_topic_partition_t *where, const char *why);

/* Remembered until it is undone, assigned or not. */
void assignment_pause(struct assignment *assignment, const char *topic, int32_t partition);
void assignment_resume(struct assignment *assignment, const char *topic, int32_t partition);

/* The config's pointer for this name of a topic, which is one of them. */
const char *assignment_topic(const struct assignment *assignment, const char *name);

void assignment_free(struct assignment *assignment);

DEFINE_FREEP(struct assignment, assignment_free)
