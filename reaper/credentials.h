/* The reaper and its credentials for Kafka and Redis: what its processes read while they still are root, and whether they are let in. */
#pragma once

#include "bus/redis_door.h"
#include "reaper/settings.h"

/* As root: read passwords and certificates. Every Kafka handle of this process has the operator's properties from now on. */
int credentials_load(const struct reaper_settings *settings, struct redis_door **ret_redis, struct err *err);

/* A process of its own, already confined: may we do all that a reaper does? Answers its exit status: 0, also when one of them
 * does not answer, or ACCESS_EXIT_REFUSED. */
int credentials_check_main(const struct reaper_settings *settings, const struct redis_door *redis);
