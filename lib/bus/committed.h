/* What any consumer group has committed, asked from inside the loop by somebody who is no member of it.
 *
 * A thread asks (bus/positions.h), because librdkafka's other way, the coordinator requests of its admin client,
 * aborts the process when a broker goes away at the wrong moment (its issue 4605, in every version so far). */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/positions.h"
#include "wire/record_place.h"

struct committed;

/* Once per request, never from inside the call. The positions are borrowed; NULL: Kafka did not say, and `why` does. */
typedef void (*committed_fn)(void *ctx, const struct position *positions, size_t n, const char *why);

/* The text is copied. */
int committed_new(struct event_base *base, const char *brokers, struct committed **ret, struct err *err);

/* One after the other, in the order of asking. Commits of transactions that are still open are waited for, some
 * seconds; then the answer is NULL, as it is when Kafka is away. The names of topics are borrowed until then, the
 * list only during the call. */
void committed_read(struct committed *committed, const char *group, const struct topic_partition *partitions, size_t n,
		    committed_fn fn, void *ctx);

/* Requests that are not answered are not answered any more. Waits for the one in hand: some seconds when Kafka is
 * away. */
void committed_free(struct committed *committed);
