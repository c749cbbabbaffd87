/* A transactional producer: one batch after the other, each in one Kafka transaction. Its calls block: it is the
 * publisher's thread's (bus/publisher.c). */
#pragma once

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "base/own.h"
#include "bus/publish.h"

struct producer;

#define PRODUCER_WHY_BYTES 240

/* Copies the texts. `is_stopping` is asked between tries: whether to go on for as long as no broker is there. */
int producer_new(const struct publisher_config *config, bool (*is_stopping)(void *ctx), void *ctx,
		 struct producer **ret, struct err *err);

/* Ready for a transaction; tries until a broker is there. false: stopping. */
bool producer_open(struct producer *producer);

/* Of an open one; it stays open, unless it was told to stop. The offsets are committed for the membership's group.
 * `why` is "" when there is nothing to say. */
enum publish_verdict producer_publish(struct producer *producer, const struct publish_batch *batch,
				      const rd_kafka_consumer_group_metadata_t *membership, char why[PRODUCER_WHY_BYTES]);

/* Gives up what is in its queues. Fine when it is not open. */
void producer_close(struct producer *producer);

void producer_free(struct producer *producer);

DEFINE_FREEP(struct producer, producer_free)

/* Fence whoever uses `transactional_id`: afterwards no batch that it was handed before can be committed. One that is
 * handed over later can, after the fenced producer had to start anew: so the fence comes after what entitles it to
 * publish (the lease) was taken away. Blocks up to timeout_ms. */
int producer_fence(const char *brokers, const char *transactional_id, unsigned timeout_ms, struct err *err);
