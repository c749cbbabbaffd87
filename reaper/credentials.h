/* What a reaper has to be allowed to do in Kafka and Redis. */
#pragma once

#include "bus/redis_endpoint.h"
#include "reaper/settings.h"

/* A process of its own, already confined: asks for all of it. Answers its exit status: 0, also when one of them does
 * not answer, or ACCESS_EXIT_REFUSED. */
int credentials_check_main(const struct reaper_settings *settings, const struct redis_endpoint *redis);
