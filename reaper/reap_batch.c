#include "reaper/reap_batch.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "reaper/reap_batch_steps.h"

static const batch_step_fn steps[] = { step_take,    step_erase, step_fence,  step_settle, step_announce,
				       step_confirm, step_tell,	 step_lookup, step_settle, NULL };

static void begin(struct reap_batch *batch, size_t n, uint64_t now_ms)
{
	assert(batch->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	batch->n = n;
	batch->now_ms = now_ms;
	batch->step = 0;
	batch->ours_until_mono_ms = clock_mono_ms() + batch->config.lease_ms;
}

void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms)
{
	begin(batch, n, now_ms);
	for (size_t i = 0; i < n; i++) {
		struct batch_item *item = &batch->items[i];

		*item = (struct batch_item){ .what.lease = leases[i] };
		item->what.is_expired = lease_plan_is_expired(&item->what.lease, batch->config.lease_ms, now_ms);
	}
	reap_batch_run(batch);
}

static void take_leftover(struct reap_batch *batch, size_t index, int64_t number, const struct reap_lease *lease)
{
	const struct reap_find *find = &batch->finds[index];
	struct batch_item *item = &batch->items[index];

	batch->config.on_judged(batch->config.ctx, find->id, number);
	*item = (struct batch_item){ .plan = LEASE_PLAN_LEAVE };
	if (!find->may_take || number == 0)
		return;
	item->plan = number > 0 ? LEASE_PLAN_REAP : LEASE_PLAN_ERASE;
	if (number > 0)
		item->what.lease = *lease;
	(void)snprintf(item->what.lease.id, sizeof(item->what.lease.id), "%s", find->id); /* an id fits */
	(void)snprintf(item->what.lease.host, sizeof(item->what.lease.host), "%s", batch->config.host);
	item->what.is_expired = number > 0 && lease->expires_ms <= batch->now_ms;
	log_warn("reaper.leftover", "id=%s message=\"objects on this host that nobody holds\"", item->what.lease.id);
}

static void on_leftovers_taken(void *ctx, const int64_t *numbers, const struct reap_lease *leases)
{
	struct reap_batch *batch = ctx;

	if (!numbers) {
		reap_batch_end(batch);
		return;
	}
	for (size_t i = 0; i < batch->n; i++)
		take_leftover(batch, i, numbers[i], &leases[i]);
	reap_batch_end_step(batch);
}

/* Here the request to Redis is the step take. */
void reap_batch_leftovers(struct reap_batch *batch, const struct reap_find *finds, size_t n, uint64_t now_ms)
{
	begin(batch, n, now_ms);
	memcpy(batch->finds, finds, n * sizeof(*finds));
	reap_heal(batch->config.reap, batch->finds, n, on_leftovers_taken, batch);
}

int reap_batch_new(const struct reap_batch_config *config, struct reap_batch **ret, struct err *err)
{
	struct reap_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return err_set(err, ERR_HOST, ENOMEM, "set up the reaper's batches");
	batch->config = *config;
	batch->steps = steps;
	*ret = batch;
	return 0;
}

void reap_batch_free(struct reap_batch *batch)
{
	free(batch);
}
