/* Inside the pool: its state, for the files that it is made of. pool.c makes, lends and hands over, pool_give_up.c ends what should go. */
#pragma once

#include <sys/queue.h>

#include "host/images.h"
#include "worker/pool.h"
#include "worker/pool_demand.h"
#include "worker/workspace/workspace.h"

enum pooled_state { POOLED_MAKING, POOLED_READY, POOLED_LENT, POOLED_ENDING, POOLED_STATE_COUNT };

struct pooled {
	TAILQ_ENTRY(pooled) link; /* from the oldest to the youngest */
	struct pool *pool;
	enum pooled_state state;
	char image[IDENT_IMAGE_MAX + 1];
	struct shape shape; /* its image is that one */
	struct workspace *workspace;
	struct workspace_plan plan;
	struct template *template; /* lent, while it is a clone */
	struct image_stamp stamp; /* of the image, from before it was begun */
	uint64_t begun_mono_ms;
	bool is_lent; /* a job knows it, even when it is ending or gone: it stays until that says what it wants */
	bool is_chosen; /* to be given up, within one call */
};

TAILQ_HEAD(pooled_list, pooled);

struct pool {
	struct pool_config config;
	struct pool_demand demand;
	struct pooled_list all;
	struct pool_count count; /* without the numbers of each state */
	uint64_t told_mono_ms;
	uint64_t n_told; /* hits and misses by then */
	bool is_draining;
};

size_t pool_count_state(const struct pool *pool, enum pooled_state state, const struct shape *shape); /* NULL: of all shapes */
bool pooled_is_idle(const struct pooled *pooled); /* being made, or waiting: no job knows it */
void pooled_end(struct pooled *pooled, const char *why); /* nothing, when it is ending already */

/* NULL: it may still be handed out. Else why not. */
const char *pooled_why_old(const struct pooled *pooled, uint64_t now_mono_ms);
void pool_give_up_old(struct pool *pool, uint64_t now_mono_ms); /* and what is not wanted any more */
void pool_give_up_one(struct pool *pool, const char *why); /* the one that is wanted least */
