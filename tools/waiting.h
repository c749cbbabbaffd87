/* Which records still wait for their terminal result. A result names the record it answers (partition and offset), so an id
 * that is used twice, or by somebody else, confuses nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct waiting;

enum waiting_verdict {
	WAITING_VERDICT_FOREIGN, /* not a record of ours */
	WAITING_VERDICT_FIRST,
	WAITING_VERDICT_AGAIN, /* it had its result already: somebody broke a promise */
	WAITING_VERDICT_COUNT
};

int waiting_new(struct waiting **ret, struct err *err);
int waiting_add(struct waiting *waiting, int32_t partition, int64_t offset, struct err *err);
/* Its program has begun, for the first time or again. Does nothing for a record that is not ours or was answered. */
void waiting_start(struct waiting *waiting, int32_t partition, int64_t offset);

/* Is or was the record one of ours? */
bool waiting_has(const struct waiting *waiting, int32_t partition, int64_t offset);

enum waiting_verdict waiting_answer(struct waiting *waiting, int32_t partition, int64_t offset);

/* The highest offset of this partition that was added, -1: none. A higher one may be of a record that Kafka has not
 * acknowledged yet. */
int64_t waiting_highest(const struct waiting *waiting, int32_t partition);

size_t waiting_left(const struct waiting *waiting);
size_t waiting_started(const struct waiting *waiting); /* of those that are left */
void waiting_free(struct waiting *waiting);

DEFINE_FREEP(struct waiting, waiting_free)
