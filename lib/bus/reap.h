/* The reaper's side of leases: what is due, taking it over, settling it. Asynchronous, inside the loop, one request
 * at a time; whether the caller may do a thing is decided inside Redis by owner and token (lua/).
 *
 *	running --(due)--> reaping --> orphan --(nobody claims it)--> ended --> told --> (gone)
 *	                      |          |  claimed again: running      ^
 *	                      |          `------------------------------|
 *	                      |--(attempts or its ttl_ms used up)-------'
 *	                      `--(its result was told by the worker)--> (gone)
 *
 * Each state is held by one reaper at a time, which must be done with it within a lease; afterwards another takes it. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/reap_reply.h"

struct reap;
struct redis_endpoint;

enum reap_verb {
	REAP_VERB_NONE,
	REAP_VERB_DELETE,
	REAP_VERB_ORPHAN,
	REAP_VERB_ENDED,
	REAP_VERB_TOLD, /* also again: look later */
	REAP_VERB_COUNT
};

struct reap_settlement {
	const char *id;
	uint64_t token;
	enum reap_verb verb; /* not NONE */
	bool is_key_destroyed;
};

struct reap_config {
	const struct redis_endpoint *redis_endpoint; /* borrowed; NULL: redis_host and redis_port, without a password */
	const char *redis_host;
	unsigned redis_port;
	const char *prefix;
	const char *owner; /* of this process start */
	const char *host;
	unsigned lease_ms, grace_ms, lost_after_ms;
};

/* `on_change`: the server was looked at after a connection was made (`server`), or the connection is lost (NULL,
 * `why`). */
int reap_new(struct event_base *base, const struct reap_config *config,
	     void (*on_change)(void *ctx, const struct reap_server *server, const char *why), void *ctx,
	     struct reap **ret, struct err *err);

/* Every answer comes once, not from inside the call; NULL when nothing is known. A second request before it is a bug. */
typedef void (*reap_scan_fn)(void *ctx, const struct reap_scan *scan);
typedef void (*reap_numbers_fn)(void *ctx, const int64_t *numbers);
typedef void (*reap_find_fn)(void *ctx, const struct reap_found *found);

/* What has been due for longer than the grace, the longest first. */
void reap_scan(struct reap *reap, reap_scan_fn fn, void *ctx);

/* Answers the new token of each, 0 for one that was renewed, finished or taken meanwhile. What is taken has the expires_ms
 * given here. */
void reap_take(struct reap *reap, const struct reap_lease *leases, size_t n, reap_numbers_fn fn, void *ctx);

/* Answers 1 for each, 0 for one that is not ours any more. */
void reap_settle(struct reap *reap, const struct reap_settlement *settlements, size_t n, reap_numbers_fn fn, void *ctx);

/* Of workspaces of which something is left on this host: is each held by a worker or reaper, here? A hold for no task is over a grace after
 * its end. */
void reap_find(struct reap *reap, const char *const *vm_ids, size_t n, reap_find_fn fn, void *ctx);

/* The disk's key of each was seen to be destroyed, and nobody held it: its lease, if there is one that names it, says so from now on.
 * Answers 1 for each of which there is one, else 0. */
void reap_note(struct reap *reap, const char *const *vm_ids, size_t n, reap_numbers_fn fn, void *ctx);

void reap_free(struct reap *reap);
