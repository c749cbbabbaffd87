/* What every librdkafka handle here has in common: a configuration from pairs on top of the operator's properties
 * (bus/kafka_properties.h), logging through base/log.h, and a queue that wakes the loop. */
#pragma once

#include <event2/event.h>
#include <librdkafka/rdkafka.h>

#include "base/err.h"

struct kafka_pair {
	const char *key;
	const char *value;
};

/* A handle of `type` with these settings; `n_pairs` of them. `opaque` is its rd_kafka_opaque(). `events` are
 * RD_KAFKA_EVENT_* to be delivered on queues. librdkafka's threads have every signal blocked. */
int kafka_new(rd_kafka_type_t type, const struct kafka_pair *pairs, size_t n_pairs, int events, void *opaque,
	      rd_kafka_t **ret, struct err *err);

/* A producer whose delivery reports go to `on_delivered`, from within its own calls (poll, flush, commit). */
int kafka_new_reporting(const struct kafka_pair *pairs, size_t n_pairs,
			void (*on_delivered)(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque),
			void *opaque, rd_kafka_t **ret, struct err *err);

/* A queue's wake-up in the loop: `fn` runs whenever there may be something to poll, first once at once, because
 * librdkafka signals only when a queue goes from empty to non-empty. */
struct kafka_wake;

int kafka_wake_new(struct event_base *base, rd_kafka_queue_t *queue, void (*fn)(void *ctx), void *ctx,
		   struct kafka_wake **ret, struct err *err);
void kafka_wake_again(struct kafka_wake *wake); /* more is left: another turn */
void kafka_wake_free(struct kafka_wake *wake);  /* also destroys the queue reference; accepts NULL */
