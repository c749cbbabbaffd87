/* What any consumer group has committed in partitions of one topic, asked inside the loop by somebody who is no member of it.
 * bus/positions.h is the same for a process that may block. */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct committed;

struct committed_position {
	int32_t partition;
	int64_t next;	      /* -1: nothing was committed */
	const char *metadata; /* "" when there is none */
};

/* Once per request, never from inside the call. The positions are borrowed; NULL: Kafka did not say. */
typedef void (*committed_fn)(void *ctx, const struct committed_position *positions, size_t n);

/* `topic` is copied. */
int committed_new(struct event_base *base, const char *brokers, const char *topic, struct committed **ret, struct err *err);

/* Offsets of transactions that are still open are not answered: then the answer is NULL, as it is when Kafka is away. */
void committed_read(struct committed *committed, const char *group, const int32_t *partitions, size_t n, committed_fn fn,
		    void *ctx);

/* Requests in flight are not answered any more. */
void committed_free(struct committed *committed);
