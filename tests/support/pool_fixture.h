/* A pool over workspaces whose stages are scripted, and a job that takes from it. Guards are played: what they are told is read at the other
 * end of their socket. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdbool.h>

#include "worker/pool.h"
#include "worker/workspace/workspace.h"

#define AGE_MS	 600000
#define MACHINES 64

struct machine {
	struct workspace *workspace; /* NULL: it is over */
	int guard_fd; /* the guard's end */
};

struct fixture {
	struct event_base *base;
	struct turns *turns;
	struct admission *admission;
	struct workspace_host host;
	struct pool *pool;
	struct machine machines[MACHINES];
	size_t n_machines;
	bool is_slow, is_faulty; /* of the stages: nothing is ready by itself, nothing can be made */
	unsigned n_rooms, n_ready, n_gone;
	struct workspace *mine; /* what the job adopted */
};

/* Room for 4 active and 8 idle ones in 4096 MiB, each with 100 beside its own. */
struct fixture *fixture_new(uint32_t max, uint64_t memory_mib);
int set_up(void **state); /* of 8, without a budget */
int tear_down(void **state); /* sees that all that was reserved is given back, and that nothing is left */

void turn(struct fixture *fixture);
void tick_at(struct fixture *fixture, uint64_t now_mono_ms);
void tick(struct fixture *fixture);
struct shape shape_of(const char *image, uint32_t memory_mib);
void fill(struct fixture *fixture, const struct shape *shape, unsigned n); /* so many jobs came */

/* The job, whose time-to-live is this. NULL: it gets nothing. */
#define TTL_MS 50000
struct workspace *hand_over(struct fixture *fixture, struct pooled *pooled);
void end_mine(struct fixture *fixture);
uint64_t told_deadline(const struct fixture *fixture, const struct workspace *workspace); /* to its guard; 0: nothing */
