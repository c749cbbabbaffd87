#include "bus/lease_library.h"

extern const char lease_library_lua[]; /* made of lua/ by cmake/lua.cmake */

static struct redis_script library = { .body = lease_library_lua };

void lease_library_call(struct redis *redis, const struct lease_keys *keys, const char *function, struct redis_args *args, redis_fn fn,
			void *ctx)
{
	struct redis_args head = { 0 };

	redis_args_add(&head, keys->deadlines);
	redis_args_add(&head, keys->lease_prefix);
	redis_args_add(&head, keys->token);
	redis_args_add(&head, keys->vms_prefix);
	redis_args_add(&head, function);
	redis_eval(redis, &library, LEASE_KEYS_COUNT, &head, args, fn, ctx);
}

void lease_library_load(struct redis *redis)
{
	redis_load(redis, &library);
}
