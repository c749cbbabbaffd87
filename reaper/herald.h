/* Blocking use of bus/publisher.h, for a process that has no loop: a transactional producer under the reapers' shared
 * id. Opening it fences every other reaper's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/own.h"
#include "bus/publisher.h"
#include "bus/reap.h"

struct herald;

struct herald_config {
	const char *brokers;
	const char *group; /* whose offsets are committed; also the transactional id */
	const char *source_topic;
	unsigned timeout_ms;
};

struct herald_batch {
	struct publish_message messages[REAP_BATCH_MAX]; /* topic and key borrowed, data owned */
	size_t n_messages;
	struct publish_offset offsets[REAP_BATCH_MAX]; /* metadata borrowed */
	size_t n_offsets;
};

/* Takes the contents of `data`. */
void herald_batch_add(struct herald_batch *batch, const char *topic, const char *key, struct buf *data);
void herald_batch_commit(struct herald_batch *batch, int32_t partition, int64_t next, const char *metadata);
void herald_batch_clear(struct herald_batch *batch);

/* Answers when every other producer of this group's id is fenced. ERR_BUSY when Kafka does not answer in time. */
int herald_new(const struct herald_config *config, struct herald **ret, struct err *err);

/* 0: told and committed. -EAGAIN: nothing of it was, because of an abort or because another reaper fenced us.
 * -ETIMEDOUT: unknown; this one is of no more use, only a new herald can tell. */
int herald_publish(struct herald *herald, const struct herald_batch *batch, struct err *err);

void herald_free(struct herald *herald);

DEFINE_FREEP(struct herald, herald_free)
