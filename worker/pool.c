#include "worker/pool_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "worker/templates.h"
#include "worker/workspace/adopt.h"

#define GUARD_SLACK_MS 30000 /* beyond its age: the pool ends it first */
#define STATS_MS 60000
#define TEMPLATE_MS 30000 /* after the first task of a shape: by then it has a template, or will not have one soon */

/* --- one of them --- */

size_t pool_count_state(const struct pool *pool, enum pooled_state state, const struct shape *shape)
{
	const struct pooled *pooled;
	size_t n = 0;

	TAILQ_FOREACH(pooled, &pool->all, link)
		n += pooled->state == state && (!shape || shape_is_same(&pooled->shape, shape));
	return n;
}

static void forget(struct pooled *pooled)
{
	TAILQ_REMOVE(&pooled->pool->all, pooled, link);
	if (pooled->template)
		templates_put(pooled->pool->config.templates, pooled->template);
	free(pooled);
}

bool pooled_is_idle(const struct pooled *pooled)
{
	return pooled->state == POOLED_MAKING || pooled->state == POOLED_READY;
}

void pooled_end(struct pooled *pooled, const char *why)
{
	if (pooled->state == POOLED_ENDING)
		return;
	log_debug("pool.end", "vm=%s message=\"%s\"", pooled->workspace->vm_id, why);
	pooled->state = POOLED_ENDING;
	workspace_end(pooled->workspace);
}

static void on_ready(void *ctx)
{
	struct pooled *pooled = ctx;
	uint64_t took_ms = clock_mono_ms() - pooled->begun_mono_ms;
	struct pool_row *row = pool_demand_find(&pooled->pool->demand, &pooled->shape);

	if (pooled->state != POOLED_MAKING)
		return;
	pooled->state = POOLED_READY;
	pooled->pool->count.made++;
	if (row)
		pool_demand_made(row, took_ms);
	log_debug("pool.ready", "vm=%s image=%s start=%s make_ms=%llu", pooled->workspace->vm_id, pooled->shape.image,
		  pooled->template ? "clone" : "cold", (unsigned long long)took_ms);
}

/* While it is lent it is the job's loss, too, which asks when it has its lease. */
static void on_fault(void *ctx, const char *field, const struct err *err)
{
	struct pooled *pooled = ctx;
	struct pool *pool = pooled->pool;
	struct pool_row *row = pool_demand_find(&pool->demand, &pooled->shape);

	(void)field;
	if (pooled->state == POOLED_ENDING)
		return;
	log_warn("pool.fault", "vm=%s image=%s message=\"%s; no task was in it\"", pooled->workspace->vm_id, pooled->shape.image, err->msg);
	if (pooled->state == POOLED_MAKING && pooled->template && err->kind != ERR_INPUT)
		templates_failed(pool->config.templates, pooled->template, err);
	if (row)
		pool_demand_failed(row, clock_mono_ms());
	if (pooled->state != POOLED_LENT)
		pool->count.failed++;
	pooled_end(pooled, "it broke");
}

static void on_over(void *ctx, enum workspace_over over)
{
	struct pooled *pooled = ctx;

	(void)over;
	if (pooled->state != POOLED_ENDING)
		pooled->pool->count.expired++;
	pooled_end(pooled, "its time is over");
}

static void on_key_destroyed(void *ctx)
{
	(void)ctx;
}

static void free_gone(struct pooled *pooled)
{
	struct pool *pool = pooled->pool;

	if (pooled->is_lent || pooled->workspace->state != WORKSPACE_GONE)
		return;
	workspace_free(TAKE_PTR(pooled->workspace));
	forget(pooled);
	pool->config.on_room(pool->config.ctx);
}

static void on_gone(void *ctx)
{
	free_gone(ctx);
}

static const struct workspace_events events = { .on_ready = on_ready,
						.on_fault = on_fault,
						.on_over = on_over,
						.on_key_destroyed = on_key_destroyed,
						.on_gone = on_gone };

/* --- making --- */

static uint64_t memory_of(const struct pool *pool)
{
	const struct pooled *pooled;
	uint64_t mib = 0;

	TAILQ_FOREACH(pooled, &pool->all, link)
		if (pooled->state != POOLED_LENT)
			mib += pooled->workspace->reservation.memory_mib;
	return mib;
}

static struct pooled *pooled_new(struct pool *pool, const struct shape *shape, const struct reservation *reservation)
{
	struct pooled *pooled = calloc(1, sizeof(*pooled));

	if (!pooled)
		return NULL;
	pooled->pool = pool;
	pooled->shape = *shape;
	(void)snprintf(pooled->image, sizeof(pooled->image), "%s", shape->image); /* an ident */
	pooled->shape.image = pooled->image;
	pooled->template = templates_take(pool->config.templates, shape);
	pooled->plan = (struct workspace_plan){ .image = pooled->shape.image,
						.cpus = shape->cpus,
						.memory_mib = shape->memory_mib,
						.disk_mib = shape->disk_mib,
						.ttl_ms = pool->config.age_ms + GUARD_SLACK_MS,
						.use_ms = pool->config.age_ms + GUARD_SLACK_MS,
						.start = pooled->template ? WORKSPACE_START_CLONE : WORKSPACE_START_COLD,
						.template = pooled->template,
						.owner_id = "pool",
						.has_no_lease = true };
	pooled->workspace = workspace_new(pool->config.workspaces, &pooled->plan, reservation, &events, pooled);
	TAILQ_INSERT_TAIL(&pool->all, pooled, link);
	if (pooled->workspace)
		return pooled;
	forget(pooled);
	return NULL;
}

/* false: there is no room. */
static bool make(struct pool *pool, const struct shape *shape)
{
	struct admission *admission = pool->config.workspaces->admission;
	struct reservation reservation;
	struct pooled *pooled;

	if (admission_ask_idle(admission, shape, &reservation) != ADMISSION_VERDICT_ADMITTED)
		return false;
	pooled = memory_of(pool) + reservation.memory_mib <= pool->config.memory_mib ? pooled_new(pool, shape, &reservation) : NULL;
	if (!pooled) {
		admission_return(admission, &reservation);
		return false;
	}
	pooled->begun_mono_ms = clock_mono_ms();
	images_stamp(pool->config.workspaces->place, shape->image, &pooled->stamp);
	workspace_begin(pooled->workspace);
	return true;
}

static bool has_room(const struct pool *pool)
{
	size_t n = pool_count_state(pool, POOLED_MAKING, NULL);

	return !pool->is_draining && n < POOL_MAKING_MAX &&
	       n + pool_count_state(pool, POOLED_READY, NULL) + pool_count_state(pool, POOLED_ENDING, NULL) < pool->config.max;
}

/* A template is on its way when one can be: what boots meanwhile would only be in the way. */
static bool is_worth_it(const struct pool *pool, const struct pool_row *row, uint64_t now_mono_ms)
{
	bool has_time = pool->config.templates && now_mono_ms - row->since_mono_ms < TEMPLATE_MS;

	return pool_demand_may_make(row, now_mono_ms) && (!has_time || templates_ready(pool->config.templates, &row->shape));
}

static void refill_row(struct pool *pool, struct pool_row *row, uint64_t now_mono_ms)
{
	uint32_t wanted = pool_demand_wanted(row, now_mono_ms);
	size_t n = pool_count_state(pool, POOLED_READY, &row->shape) + pool_count_state(pool, POOLED_MAKING, &row->shape);

	while (n++ < wanted && is_worth_it(pool, row, now_mono_ms) && has_room(pool) && make(pool, &row->shape))
		;
}

/* --- for jobs --- */

struct pooled *pool_take(struct pool *pool, const struct shape *shape)
{
	uint64_t now_mono_ms = clock_mono_ms();
	struct pooled *pooled;

	if (!pool)
		return NULL;
	TAILQ_FOREACH(pooled, &pool->all, link) {
		if (pooled->state != POOLED_READY || !shape_is_same(&pooled->shape, shape) ||
		    !held_vm_is_sure(&pooled->workspace->held, now_mono_ms) || pooled_why_old(pooled, now_mono_ms))
			continue;
		if (admission_activate(pool->config.workspaces->admission, &pooled->workspace->reservation) != ADMISSION_VERDICT_ADMITTED)
			return NULL;
		pooled->state = POOLED_LENT;
		pooled->is_lent = true;
		pool_demand_add(&pool->demand, shape, now_mono_ms);
		return pooled;
	}
	return NULL;
}

struct workspace *pooled_workspace(struct pooled *pooled)
{
	return pooled->workspace;
}

void pool_miss(struct pool *pool, const struct shape *shape)
{
	if (!pool)
		return;
	pool->count.misses++;
	pool_demand_add(&pool->demand, shape, clock_mono_ms());
}

static void take_back(struct pooled *pooled, const char *why)
{
	pooled->is_lent = false;
	pooled_end(pooled, why);
	free_gone(pooled);
}

struct workspace *pool_hand_over(struct pool *pool, struct pooled *pooled, struct workspace_plan *plan, struct template **ret_template,
				 const struct workspace_events *to, void *ctx)
{
	struct workspace *workspace = pooled->workspace;
	struct workspace_plan whole = pooled->plan;
	struct err err = { 0 };

	assert(pooled->state == POOLED_LENT || pooled->state == POOLED_ENDING);
	whole.ttl_ms = plan->ttl_ms;
	whole.use_ms = plan->use_ms;
	whole.owner_id = plan->owner_id;
	whole.image = plan->image;
	whole.has_no_lease = false;
	*plan = whole;
	if (pooled->state == POOLED_LENT && workspace_adopt(workspace, plan, to, ctx, &err) == 0) {
		pool->count.hits++;
		*ret_template = TAKE_PTR(pooled->template);
		forget(pooled);
		return workspace;
	}
	log_warn("pool.lost", "vm=%s id=%s message=\"%s\"", workspace->vm_id, plan->owner_id,
		 err.msg[0] ? err.msg : "it broke before its job had its lease");
	pool->count.lost++;
	take_back(pooled, "it could not be handed over");
	return NULL;
}

/* Active it is no more than a task's: idle again it may not fit, and then it goes. */
void pool_give_back(struct pool *pool, struct pooled *pooled, bool may_be_named)
{
	struct reservation *reservation = &pooled->workspace->reservation;
	bool is_good = pooled->state == POOLED_LENT && !may_be_named && !pool->is_draining;

	if (!is_good || !admission_deactivate(pool->config.workspaces->admission, &pooled->shape, reservation)) {
		take_back(pooled, "its job did not use it");
		return;
	}
	pooled->is_lent = false;
	pooled->state = POOLED_READY;
}

/* --- its life --- */

static void tell(struct pool *pool, uint64_t now_mono_ms)
{
	const struct pool_count count = pool_count(pool);

	pool->told_mono_ms = now_mono_ms;
	pool->n_told = count.hits + count.misses;
	log_info("pool.stats", "ready=%zu making=%zu hits=%llu misses=%llu made=%llu failed=%llu expired=%llu evicted=%llu lost=%llu", count.ready,
		 count.making, (unsigned long long)count.hits, (unsigned long long)count.misses, (unsigned long long)count.made,
		 (unsigned long long)count.failed, (unsigned long long)count.expired, (unsigned long long)count.evicted,
		 (unsigned long long)count.lost);
}

void pool_tick(struct pool *pool, uint64_t now_mono_ms)
{
	struct pooled *pooled;
	bool is_pressed;

	if (!pool)
		return;
	is_pressed = admission_is_pressed(pool->config.workspaces->admission);
	TAILQ_FOREACH(pooled, &pool->all, link)
		workspace_tick(pooled->workspace, now_mono_ms);
	pool_give_up_old(pool, now_mono_ms);
	if (is_pressed)
		pool_give_up_one(pool, "this host is short of memory");
	for (size_t i = 0; i < POOL_SHAPES_MAX && !is_pressed; i++)
		if (pool->demand.rows[i].asked_mono_ms)
			refill_row(pool, &pool->demand.rows[i], now_mono_ms);
	if (now_mono_ms - pool->told_mono_ms >= STATS_MS && pool->n_told != pool->count.hits + pool->count.misses)
		tell(pool, now_mono_ms);
}

void pool_drain(struct pool *pool)
{
	struct pooled *pooled;

	if (!pool || pool->is_draining)
		return;
	pool->is_draining = true;
	tell(pool, clock_mono_ms());
	TAILQ_FOREACH(pooled, &pool->all, link)
		if (pooled_is_idle(pooled))
			pooled_end(pooled, "the worker drains");
}

struct pool_count pool_count(const struct pool *pool)
{
	struct pool_count count = { 0 };

	if (!pool)
		return count;
	count = pool->count;
	count.making = pool_count_state(pool, POOLED_MAKING, NULL);
	count.ready = pool_count_state(pool, POOLED_READY, NULL);
	count.lent = pool_count_state(pool, POOLED_LENT, NULL);
	count.ending = pool_count_state(pool, POOLED_ENDING, NULL);
	return count;
}

struct pool *pool_new(const struct pool_config *config)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->config = *config;
	pool->told_mono_ms = clock_mono_ms();
	TAILQ_INIT(&pool->all);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	assert(TAILQ_EMPTY(&pool->all));
	free(pool);
}
