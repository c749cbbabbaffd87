/* The result that a reaper tells of a record whose worker died: `lost`, or `expired` where its ttl_ms ended first.
 * Pure. */
#pragma once

#include "base/buf.h"
#include "reaper/kafka_request.h"

/* As in schemas/result.md. 0 or -ENOMEM. */
int lost_result_encode(const struct kafka_item *item, uint64_t finished_ms, struct buf *out);
