/* What a consumer group has committed, asked by somebody who is no member of it. Blocking: not for a loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct positions;

#define POSITION_METADATA_MAX 4096 /* bytes, Kafka's default offset.metadata.max.bytes */

struct position {
	const char *topic;			  /* in; borrowed */
	int32_t partition;			  /* in */
	int64_t next;				  /* out: the offset to read next, -1 when nothing was committed */
	char metadata[POSITION_METADATA_MAX + 1]; /* out: "" when there is none */
};

int positions_new(const char *brokers, const char *group, struct positions **ret, struct err *err);

/* Fills `next` and `metadata` of each. What a transaction in flight would change is waited for, so that the answer
 * cannot be overtaken by a commit that was sent before. `n` is at least 1. ERR_BUSY when Kafka does not answer
 * within timeout_ms. */
int positions_read(struct positions *positions, struct position *list, size_t n, unsigned timeout_ms, struct err *err);

/* Has the group members: somebody who will read what it has not committed? ERR_BUSY when Kafka does not answer in
 * time. */
int positions_has_members(struct positions *positions, unsigned timeout_ms, bool *ret, struct err *err);

/* How many partitions the topic has. ERR_BUSY when Kafka does not answer within timeout_ms. */
int positions_count(struct positions *positions, const char *topic, unsigned timeout_ms, int32_t *ret, struct err *err);

void positions_free(struct positions *positions);

DEFINE_FREEP(struct positions, positions_free)
