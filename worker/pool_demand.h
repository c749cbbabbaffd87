/* What tasks asked for lately, and how many workspaces of each shape are worth having ready. Pure: arrivals and the clock come in.
 *
 * As many as came, at most, within the time that it takes to make one: then a burst like the last one finds what it needs, and a stream of
 * tasks finds the next one made. What nobody asked for within the window is not wanted at all. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ident.h"
#include "worker/workspace/shape.h"

#define POOL_DEMAND_SECONDS 60 /* the window */
#define POOL_SHAPES_MAX 16 /* a sender chooses shapes: one more displaces the one that was asked for least recently */

struct pool_row {
	char image[IDENT_IMAGE_MAX + 1];
	struct shape shape; /* its image is that one */
	uint64_t since_mono_ms, asked_mono_ms; /* first and last time; 0: the row is free */
	uint16_t arrivals[POOL_DEMAND_SECONDS]; /* in each second of the window, a ring */
	uint64_t second; /* the newest one in it */
	uint64_t make_ms; /* what the last one took */
	uint64_t not_before_mono_ms;
	unsigned n_failures; /* one after the other */
};

/* Zero-initialise. */
struct pool_demand {
	struct pool_row rows[POOL_SHAPES_MAX];
};

void pool_demand_add(struct pool_demand *demand, const struct shape *shape, uint64_t now_mono_ms);

/* NULL: nobody asked for it lately. */
struct pool_row *pool_demand_find(struct pool_demand *demand, const struct shape *shape);

uint32_t pool_demand_wanted(struct pool_row *row, uint64_t now_mono_ms);
bool pool_demand_may_make(const struct pool_row *row, uint64_t now_mono_ms);
void pool_demand_made(struct pool_row *row, uint64_t took_ms);
void pool_demand_failed(struct pool_row *row, uint64_t now_mono_ms);
