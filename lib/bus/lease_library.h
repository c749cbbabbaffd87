/* The lease library in Redis: one Lua script of many functions (lua/base.lua), run by its digest. Redis knows it for as long as it runs
 * and nobody flushes its scripts; a call that finds it missing brings it along. */
#pragma once

#include "bus/lease_keys.h"
#include "bus/redis.h"

/* Takes the contents of `args`. */
void lease_library_call(struct redis *redis, const struct lease_keys *keys, const char *function, struct redis_args *args, redis_fn fn,
			void *ctx);

/* Once per connection, before the first call: a call that has to bring the library along is overtaken by those behind it. */
void lease_library_load(struct redis *redis);
