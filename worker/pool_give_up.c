/* What the pool gives up: what is old, what nobody wants any more, and what is in a task's way. */
#include <string.h>

#include "worker/pool_private.h"
#include "worker/templates.h"
#include "worker/workspace/admission.h"

const char *pooled_why_old(const struct pooled *pooled, uint64_t now_mono_ms)
{
	const struct pool_config *config = &pooled->pool->config;
	struct image_stamp stamp;

	if (now_mono_ms - pooled->begun_mono_ms >= config->age_ms)
		return "it is too old";
	images_stamp(config->workspaces->place, pooled->shape.image, &stamp);
	if (memcmp(&stamp, &pooled->stamp, sizeof(stamp)) != 0)
		return "its image was replaced";
	if (pooled->template && templates_ready(pooled->pool->config.templates, &pooled->shape) != pooled->template)
		return "its template was given up";
	return NULL;
}

static const char *why_over(struct pool *pool, const struct pooled *pooled, uint64_t now_mono_ms)
{
	const struct held_vm *held = &pooled->workspace->held;
	struct pool_row *row = pool_demand_find(&pool->demand, &pooled->shape);
	uint32_t wanted = row ? pool_demand_wanted(row, now_mono_ms) : 0;
	bool was_sure = held->sure_until_mono_ms != 0;

	if (was_sure && !held_vm_is_sure(held, now_mono_ms))
		return "others may think that nobody holds it";
	if (wanted < pool_count_state(pool, POOLED_READY, &pooled->shape))
		return "it is not wanted any more";
	return pooled_why_old(pooled, now_mono_ms);
}

void pool_give_up_old(struct pool *pool, uint64_t now_mono_ms)
{
	struct pooled *pooled;

	TAILQ_FOREACH(pooled, &pool->all, link) {
		const char *why = pooled->state == POOLED_READY ? why_over(pool, pooled, now_mono_ms) : NULL;

		if (!why)
			continue;
		pool->count.expired++;
		pooled_end(pooled, why);
	}
}

/* Of the shape that was asked for least recently; of these the oldest. */
static struct pooled *least_wanted(struct pool *pool)
{
	struct pooled *pooled, *found = NULL;
	uint64_t least_mono_ms = UINT64_MAX;

	TAILQ_FOREACH(pooled, &pool->all, link) {
		const struct pool_row *row = pool_demand_find(&pool->demand, &pooled->shape);
		uint64_t asked_mono_ms = row ? row->asked_mono_ms : 0;

		if (!pooled_is_idle(pooled) || pooled->is_chosen || asked_mono_ms >= least_mono_ms)
			continue;
		found = pooled;
		least_mono_ms = asked_mono_ms;
	}
	return found;
}

static void evict(struct pool *pool, struct pooled *pooled, const char *why)
{
	pool->count.evicted++;
	pooled_end(pooled, why);
}

/* What is on its way to be given back already helps, too. */
static bool choose_for_room(struct pool *pool, const struct shape *shape)
{
	const struct admission *admission = pool->config.workspaces->admission;
	uint64_t memory_mib = 0, disk_mib = 0;
	struct pooled *pooled;

	TAILQ_FOREACH(pooled, &pool->all, link)
		if (pooled->state == POOLED_ENDING) {
			memory_mib += pooled->workspace->reservation.memory_mib;
			disk_mib += pooled->workspace->reservation.disk_mib;
		}
	while (!admission_would_fit(admission, shape, memory_mib, disk_mib)) {
		pooled = least_wanted(pool);
		if (!pooled)
			return false; /* it waits for something else: nothing here would help */
		pooled->is_chosen = true;
		memory_mib += pooled->workspace->reservation.memory_mib;
		disk_mib += pooled->workspace->reservation.disk_mib;
	}
	return true;
}

void pool_give_up_one(struct pool *pool, const char *why)
{
	struct pooled *pooled = least_wanted(pool);

	if (pooled)
		evict(pool, pooled, why);
}

void pool_make_room(struct pool *pool, const struct shape *shape)
{
	struct pooled *pooled;
	bool is_of_use;

	if (!pool)
		return;
	is_of_use = choose_for_room(pool, shape);
	TAILQ_FOREACH(pooled, &pool->all, link) {
		if (pooled->is_chosen && is_of_use)
			evict(pool, pooled, "a task needs its room");
		pooled->is_chosen = false;
	}
}
