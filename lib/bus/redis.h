/* One connection to Redis inside the loop: connects, and connects again with back-off whenever it is lost; runs scripts
 * by their digest; every request has a deadline.
 *
 * A request that is not answered in time drops the connection, so that a late answer can never be taken for a later
 * request's. Everything in flight then fails together: nothing is known about any of it. How it gets in is for an endpoint to know
 * (bus/redis_endpoint.h); nothing is sent before Redis has taken the password. A host *name* is resolved by the system's resolver,
 * which blocks the loop for as long as that takes: give an address where the resolver is not local. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"
#include "bus/redis_args.h"

struct redis;
struct redisReply;

struct redis_endpoint;

struct redis_config {
	const struct redis_endpoint *endpoint; /* borrowed; NULL: host and port, without a password */
	const char *host;
	unsigned port;
	unsigned answer_ms; /* deadline of a request, and of a connection attempt */
};

/* A Lua script. `sha` is filled by its first use. */
struct redis_script {
	const char *body;
	char sha[41];
};

/* Exactly once per request, never from inside redis_eval(). `reply` is NULL when nothing is known: no connection,
 * lost, or too late. It may be an error reply. Borrowed during the call. */
typedef void (*redis_fn)(void *ctx, const struct redisReply *reply);

/* `on_change` (may be NULL) runs when the connection is made or lost, and once when Redis begins to refuse us; `why` is "" or
 * the reason. */
int redis_new(struct event_base *base, const struct redis_config *config,
	      void (*on_change)(void *ctx, bool is_connected, const char *why), void *ctx, struct redis **ret,
	      struct err *err);

/* EVALSHA, and EVAL when the server does not know the script (a restart, SCRIPT FLUSH). `head`: the keys, of which there
 * are `n_keys`, and first arguments. Takes the contents of both. */
void redis_eval(struct redis *redis, struct redis_script *script, unsigned n_keys, struct redis_args *head, struct redis_args *args,
		redis_fn fn, void *ctx);

/* Make the script known to the server, once per connection and before its first use: a script that has to be sent
 * again is overtaken by requests behind it. */
void redis_load(struct redis *redis, struct redis_script *script);

/* A plain command; args[0] is its name. Takes the contents of `args`. */
void redis_command(struct redis *redis, struct redis_args *args, redis_fn fn, void *ctx);

bool redis_is_connected(const struct redis *redis);

/* Requests in flight are never answered. Not from inside a redis_fn. */
void redis_free(struct redis *redis);

DEFINE_FREEP(struct redis, redis_free)
