/* What a worker has to be allowed to do in Kafka and Redis. */
#pragma once

#include "bus/redis_endpoint.h"
#include "bus/topics.h"
#include "worker/settings.h"

/* Confined, with topics that exist: bus/fleet.h has the answers. */
int credentials_check(const struct settings *settings, const struct redis_endpoint *redis, const struct topics *topics,
		      const char *transactional_id, struct err *err);
