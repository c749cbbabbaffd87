/* The worker and its credentials for Kafka and Redis: what it reads while it still is root, and whether it is let in. */
#pragma once

#include "bus/redis_door.h"
#include "bus/topics.h"
#include "worker/settings.h"

/* As root: read passwords and certificates. Every Kafka handle of this process has the operator's properties from now on. */
int credentials_load(const struct settings *settings, struct redis_door **ret_redis, struct err *err);

/* Confined, with topics that exist: may we do all that a worker does? ERR_INPUT: no. A Redis that does not answer is only said. */
int credentials_check(const struct settings *settings, const struct redis_door *redis, const struct topics *topics,
		const char *transactional_id, struct err *err);
