/* Two workers' leases beside a redis-server of the test's own. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>

#include "bus/lease.h"
#include "bus/reap.h"
#include "tests/support/redis_server.h"
#include "tests/support/turn.h"

#define LEASE_MS 3000
#define CONTENT	 "0123456789abcdef0123456789abcdef"
#define FAR_MS	 32503680000000ull /* the year 3000, or a life that long */

struct fixture {
	struct redis_server server;
	struct event_base *base;
	struct leases *leases; /* of owner w1 */
	struct leases *others; /* of owner w2 */
};

struct answer {
	bool is_there;
	unsigned n;
	struct lease_grant grant;
};

extern const struct lease_source source_1, source_2, source_other; /* source_2: the same content */
extern const struct lease_workspace workspace;

int set_up(void **state);
int tear_down(void **state);
struct leases *open_leases(struct fixture *fixture, const char *owner, const char *host);

void on_answer(void *ctx, const struct lease_grant *grant);
bool is_answered(const void *ctx);
bool is_connected(const void *ctx);
bool is_lost(const void *ctx);

struct lease_grant claim(struct fixture *fixture, struct leases *leases, const char *id, const struct lease_source *source);

typedef void (*lease_call)(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);

enum lease_verdict ask(struct fixture *fixture, struct leases *leases, lease_call call, const char *id, uint64_t token);
void release(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);
void abandon(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx);

/* What a reaper would write. */
void set_state(struct fixture *fixture, const char *id, const char *state, const char *owner, unsigned attempt, int offset);
void set_line(struct fixture *fixture, const char *id, const char *line);

/* The record that has the id is always source_1. */
void check_holder(struct lease_grant grant, enum lease_verdict verdict);
/* What the library wrote is a lease to a reaper. */
void check_line(struct fixture *fixture, const char *id, enum reap_state state, unsigned attempt);
/* It is queued like any other record, for as long as it takes: no reaper takes it for lost. */
void check_waits(struct fixture *fixture, const char *id);
uint64_t score_of(struct fixture *fixture, const char *id);
unsigned long count_of(struct fixture *fixture, const char *stat);
