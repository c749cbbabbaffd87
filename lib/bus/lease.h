/* Leases in Redis: who may run a workspace, until when, with which fencing token. Asynchronous, inside the loop; all
 * of a turn's claims, renewals and finishes travel as one call of the lease library each (bus/lease_library.h).
 *
 * Keys share the hash tag {mayfly}: <prefix>:{mayfly}:lease:<id> (one line of text) and <prefix>:{mayfly}:deadlines
 * (a sorted set of ids by the Redis time in ms at which their lease ends). Times are Redis's own; a worker computes
 * its local monotonic deadline from the moment *before* a successful request was sent. Tokens only grow: max(old + 1,
 * redis time in us).
 *
 * A worker sees a lease as `running` (its own or another's), `orphan` (its objects are gone, anyone may claim it) or in the
 * reaper's hands. schemas/lease.md has all states and the fields. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ident.h"
#include "bus/lease_reply.h"
#include "wire/record_place.h"

struct leases;
struct redis_endpoint;

struct lease_config {
	const struct redis_endpoint *redis_endpoint; /* borrowed; NULL: redis_host and redis_port, without a password */
	const char *redis_host;
	unsigned redis_port;
	const char *prefix; /* "mayfly" */
	const char *owner;  /* this process start: <worker>.<random> ; also its transactional.id */
	const char *host;   /* whose reaper can reach the objects */
	const char *const *topics; /* whose records have ids in common; borrowed for as long as the leases live */
	size_t n_topics;
	unsigned lease_ms;
	unsigned max_attempts; /* a claim beyond it answers EXHAUSTED */
};

/* What is to be made for the record, if the claim is granted. Another attempt brings another one. */
struct lease_workspace {
	const char *vm_id;  /* borrowed during the call; NULL: none */
	const char *tenant; /* likewise */
	uint64_t ttl_ms;    /* how long it may live, from the claim; see LEASE_NEVER_MS */
	uint32_t slot;
};

struct lease_source {
	struct record_place place; /* of one of lease_config.topics. Borrowed during the call, as are the next two */
	const char *content; /* what the task is, in a word: a digest */
	const struct record_place *answered; /* NULL, or another record of the id that was answered: its orphan is in nobody's way */
};

typedef void (*lease_fn)(void *ctx, const struct lease_grant *grant);

/* Connects, and connects again whenever the connection is lost, with back-off; requests during a gap answer UNKNOWN.
 * Every request answers exactly once, never from inside the call, at most `lease_ms / 3` later. */
int leases_new(struct event_base *base, const struct lease_config *config, struct leases **ret, struct err *err);

void lease_claim(struct leases *leases, const char *id, const struct lease_source *source, const struct lease_workspace *workspace,
		 lease_fn fn, void *ctx);
void lease_renew(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);
/* The result is committed and every object is gone: remove the lease. */
void lease_finish(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);
/* Hand back unrun (drain, lost partition): everything is gone, the attempt does not count. `is_key_destroyed`: seen to be,
 * for the result that the reaper may have to tell. */
void lease_release(struct leases *leases, const char *id, uint64_t token, bool is_key_destroyed, lease_fn fn, void *ctx);
/* Hand back when its code may have run and nothing was told: everything is gone, the attempt counts. */
void lease_abandon(struct leases *leases, const char *id, uint64_t token, bool is_key_destroyed, lease_fn fn, void *ctx);
/* A workspace of this host that no lease names, because it is made ahead of any task, is this worker's: true for a lease from before it was
 * sent. Answers DONE and until when, or UNKNOWN. Once let go it is nobody's, unless a lease names it. */
void lease_hold(struct leases *leases, const char *vm_id, lease_fn fn, void *ctx);
void lease_let_go(struct leases *leases, const char *vm_id);
/* No answer will be delivered for requests with this ctx any more. */
void lease_forget(struct leases *leases, const void *ctx);

bool leases_are_connected(const struct leases *leases);
/* How often a connection was made. When this grows, Redis may have lost its memory in between. */
uint64_t leases_connections(const struct leases *leases);
void leases_free(struct leases *leases);
