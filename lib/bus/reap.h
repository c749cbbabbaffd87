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
#include "base/ident.h"

#define REAP_BATCH_MAX 32  /* leases in one request but a scan */
#define REAP_SCAN_MAX  256 /* leases in the answer to a scan */
#define REAP_OWNER_MAX 128
#define REAP_TOPIC_MAX 249 /* Kafka's longest topic name */

struct reap;
struct redis_door;
struct redisReply;

enum reap_state {
	REAP_STATE_RUNNING, /* a worker has it */
	REAP_STATE_REAPING, /* a reaper removes its objects and asks Kafka whether it was told */
	REAP_STATE_ORPHAN,  /* gone and not told: any worker may claim it */
	REAP_STATE_ENDED,   /* nobody may run it any more; the reaper tells its result */
	REAP_STATE_TOLD,    /* told; stays until the record is marked done, so that it does not run again */
	REAP_STATE_COUNT
};

struct reap_lease {
	char id[IDENT_ID_MAX + 1];
	enum reap_state state;
	char owner[REAP_OWNER_MAX + 1];	 /* worker or reaper; "-": nobody */
	char victim[REAP_OWNER_MAX + 1]; /* the worker that lost it; "-": none */
	char host[IDENT_ID_MAX + 1];	 /* where its objects are */
	uint64_t token;
	uint32_t attempt;
	uint64_t expires_ms;		/* Redis's wall clock: end of the workspace's ttl_ms, or LEASE_NEVER_MS; of TOLD: when it was told */
	char topic[REAP_TOPIC_MAX + 1]; /* "-": no record, only objects that nobody owned */
	int32_t partition;
	int64_t offset;
	char vm_id[IDENT_ID_MAX + 1];  /* the last attempt's workspace; "-": none */
	char tenant[IDENT_ID_MAX + 1]; /* "-": none */
	bool is_key_destroyed; /* the reaper saw that of the last attempt's disk */
	uint64_t due_ms; /* Redis's wall clock; of a scan only */
	uint64_t lost_ms; /* the same; when an orphan that was healed is to be lost; else 0 */
};

struct reap_scan {
	uint64_t now_ms; /* Redis's wall clock */
	uint64_t n_all;	 /* leases in any state */
	uint64_t n_due;	 /* of them; `leases` has at most REAP_SCAN_MAX */
	const struct reap_lease *leases;
	size_t n;
};

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
	uint64_t lost_ms; /* ORPHAN: when it is lost; 0: lost_after_ms from now */
};

struct reap_server {
	uint64_t uptime_ms;
	bool is_evicting; /* a maxmemory policy other than noeviction: leases may vanish */
};

struct reap_config {
	const struct redis_door *redis_door; /* borrowed; NULL: redis_host and redis_port, without a password */
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
typedef void (*reap_heal_fn)(void *ctx, const int64_t *numbers, const struct reap_lease *leases);

/* What has been due for longer than the grace, the longest first. */
void reap_scan(struct reap *reap, reap_scan_fn fn, void *ctx);

/* Answers the new token of each, 0 for one that was renewed, finished or taken meanwhile. What is taken has the expires_ms
 * given here. */
void reap_take(struct reap *reap, const struct reap_lease *leases, size_t n, reap_numbers_fn fn, void *ctx);

/* Answers 1 for each, 0 for one that is not ours any more. */
void reap_settle(struct reap *reap, const struct reap_settlement *settlements, size_t n, reap_numbers_fn fn, void *ctx);

/* Workspaces of which something is left on this host. */
struct reap_find {
	const char *id;
	bool may_take; /* else only ask */
};

/* Answers for each 0 (leave it: it is held here), positive (nobody has it; with may_take it is ours now, under that
 * token, and `leases[i]` says what it is), or -1 (nobody can claim it here: erase it if may_take). */
void reap_heal(struct reap *reap, const struct reap_find *finds, size_t n, reap_heal_fn fn, void *ctx);

void reap_free(struct reap *reap);

const char *reap_state_name(enum reap_state state);
