/* What a batch works with, and whom it tells. */
#pragma once

#include <stdbool.h>

#include "bus/reap.h"
#include "lane/client.h"
#include "reaper/kafka_client.h"

struct reap_batch_config {
	struct reap *reap;
	struct lane_client *lane;
	struct kafka_client *kafka;
	const char *host;
	unsigned max_attempts;
	unsigned lease_ms; /* what is taken is ours for so long */
	/* Between two steps; true ends the batch there. */
	bool (*is_stopping)(void *ctx);
	/* The batch is over. */
	void (*on_done)(void *ctx);
	/* What Redis answered of a workspace that was found on this host. */
	void (*on_judged)(void *ctx, const char *vm_id, enum reap_hold hold);
	/* Something of it could not be erased. `id`: of its task; "-": not known. */
	void (*on_left)(void *ctx, const char *vm_id, const char *id, const char *why);
	/* No memory: the reaper cannot go on. */
	void (*on_fault)(void *ctx, const char *why);
	void *ctx;
};
