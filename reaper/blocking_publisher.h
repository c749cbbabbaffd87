/* Blocking use of bus/publisher.h, for a process that has no loop: a transactional producer under the reapers' shared
 * id.
 *
 * Making one fences every other reaper's. One that has failed in any way is of no more use: what became of its
 * transaction is known to whoever makes the next one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/own.h"
#include "bus/publisher.h"
#include "bus/reap.h"

struct blocking_publisher;

struct blocking_publisher_config {
	const char *brokers;
	const char *group; /* whose offsets are committed; also the transactional id */
	unsigned timeout_ms;
};

struct blocking_batch {
	struct publish_message messages[REAP_BATCH_MAX]; /* topic and key borrowed, data owned */
	size_t n_messages;
	struct publish_offset offsets[REAP_BATCH_MAX]; /* topic and metadata borrowed */
	size_t n_offsets;
};

/* Takes the contents of `data`. */
void blocking_batch_add(struct blocking_batch *batch, const char *topic, const char *key, struct buf *data);
void blocking_batch_commit(struct blocking_batch *batch, const char *topic, int32_t partition, int64_t next,
			   const char *metadata);
void blocking_batch_clear(struct blocking_batch *batch);

/* Answers when every other producer of this group's id is fenced. ERR_BUSY when Kafka does not answer in time. */
int blocking_publisher_new(const struct blocking_publisher_config *config, struct blocking_publisher **ret,
			   struct err *err);

/* 0: told and committed. -EAGAIN: nothing of it was, because of an abort or because another reaper fenced us.
 * -ETIMEDOUT: unknown; this one is of no more use, only a new publisher can tell. */
int blocking_publisher_publish(struct blocking_publisher *blocking, const struct blocking_batch *batch,
			       struct err *err);

void blocking_publisher_free(struct blocking_publisher *blocking);

DEFINE_FREEP(struct blocking_publisher, blocking_publisher_free)
