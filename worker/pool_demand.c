#include "worker/pool_demand.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MAKE_MS 3000  /* to make one, until one was made */
#define MAKE_MAX_S 60 /* that are counted */
#define PAUSE_MS 1000 /* after one broke; doubles each time */
#define PAUSE_DOUBLINGS 6

struct pool_row *pool_demand_find(struct pool_demand *demand, const struct shape *shape)
{
	for (size_t i = 0; i < POOL_SHAPES_MAX; i++)
		if (demand->rows[i].asked_mono_ms && shape_is_same(&demand->rows[i].shape, shape))
			return &demand->rows[i];
	return NULL;
}

static struct pool_row *find_or_add(struct pool_demand *demand, const struct shape *shape, uint64_t now_mono_ms)
{
	struct pool_row *row = pool_demand_find(demand, shape);

	if (row)
		return row;
	row = &demand->rows[0];
	for (size_t i = 1; i < POOL_SHAPES_MAX; i++)
		if (demand->rows[i].asked_mono_ms < row->asked_mono_ms)
			row = &demand->rows[i];
	*row = (struct pool_row){ .shape = *shape, .since_mono_ms = now_mono_ms, .make_ms = MAKE_MS };
	(void)snprintf(row->image, sizeof(row->image), "%s", shape->image); /* an ident */
	row->shape.image = row->image;
	return row;
}

/* Seconds that passed without an arrival are empty. */
static void move_on(struct pool_row *row, uint64_t now_mono_ms)
{
	uint64_t second = now_mono_ms / 1000;

	if (second - row->second >= POOL_DEMAND_SECONDS) {
		memset(row->arrivals, 0, sizeof(row->arrivals));
		row->second = second;
	}
	while (row->second < second)
		row->arrivals[++row->second % POOL_DEMAND_SECONDS] = 0;
}

void pool_demand_add(struct pool_demand *demand, const struct shape *shape, uint64_t now_mono_ms)
{
	struct pool_row *row = find_or_add(demand, shape, now_mono_ms);
	uint16_t *arrivals;

	row->asked_mono_ms = now_mono_ms;
	move_on(row, now_mono_ms);
	arrivals = &row->arrivals[row->second % POOL_DEMAND_SECONDS];
	if (*arrivals < UINT16_MAX)
		(*arrivals)++;
}

/* The most that came within the time that it takes to make one. */
uint32_t pool_demand_wanted(struct pool_row *row, uint64_t now_mono_ms)
{
	uint64_t make_s = row->make_ms < MAKE_MAX_S * 1000 ? row->make_ms / 1000 + 1 : MAKE_MAX_S;
	uint32_t sum = 0, most = 0;

	move_on(row, now_mono_ms);
	for (uint64_t i = 1; i <= POOL_DEMAND_SECONDS; i++) { /* from the oldest second on */
		sum += row->arrivals[(row->second + i) % POOL_DEMAND_SECONDS];
		if (i > make_s)
			sum -= row->arrivals[(row->second + i - make_s) % POOL_DEMAND_SECONDS];
		most = sum > most ? sum : most;
	}
	return most;
}

bool pool_demand_may_make(const struct pool_row *row, uint64_t now_mono_ms)
{
	return now_mono_ms >= row->not_before_mono_ms;
}

void pool_demand_made(struct pool_row *row, uint64_t took_ms)
{
	row->make_ms = took_ms;
	row->n_failures = 0;
}

void pool_demand_failed(struct pool_row *row, uint64_t now_mono_ms)
{
	row->not_before_mono_ms = now_mono_ms + ((uint64_t)PAUSE_MS << row->n_failures);
	if (row->n_failures < PAUSE_DOUBLINGS)
		row->n_failures++;
}
