/* What Redis answers to the reaper's calls of the lease library. Pure and strict: what the library does not say is refused. */
#pragma once

#include <stddef.h>

#include "bus/lease_line.h"

#define REAP_BATCH_MAX 32  /* leases in one request but a scan */
#define REAP_SCAN_MAX  256 /* leases in the answer to a scan */
#define REAP_CURSOR_MAX 20 /* digits of a 64-bit number */

struct redisReply;

struct reap_scan {
	uint64_t now_ms; /* Redis's wall clock */
	uint64_t n_all;	 /* leases in any state */
	uint64_t n_due;	 /* of them; `leases` has at most REAP_SCAN_MAX */
	const struct reap_lease *leases;
	size_t n;
};

enum reap_hold {
	REAP_HOLD_FREE, /* nobody is known to hold it, which may be too early or too late to say */
	REAP_HOLD_OVER, /* its worker held it for no task, and has not said so for a lease and the grace */
	REAP_HOLD_HELD,
	REAP_HOLD_COUNT
};

struct reap_found {
	enum reap_hold hold;
	char id[IDENT_ID_MAX + 1]; /* of the task whose lease names it; "": none is known */
};

struct reap_server {
	uint64_t uptime_ms;
	bool is_evicting; /* a maxmemory policy other than noeviction: leases may vanish */
};

/* A scan into `leases` (REAP_SCAN_MAX). A lease whose line is not one is left out and counted in *ret_bad: one broken
 * key must not stop the reaper. 0 or -EBADMSG. */
int reap_reply_scan(const struct redisReply *reply, struct reap_scan *ret, struct reap_lease *leases, size_t *ret_bad,
		    struct err *err);

/* `n` integers. */
int reap_reply_numbers(const struct redisReply *reply, size_t n, int64_t *numbers, struct err *err);

/* A cursor of REAP_CURSOR_MAX digits at most, then `n` times a word and an id. */
int reap_reply_find(const struct redisReply *reply, size_t n, char cursor[REAP_CURSOR_MAX + 1], struct reap_found *found,
		    struct err *err);

/* The text of INFO. */
int reap_reply_server(const struct redisReply *reply, struct reap_server *ret, struct err *err);
