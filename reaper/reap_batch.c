#include "reaper/reap_batch.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "reaper/reap_batch_steps.h"

static const batch_step_fn lease_steps[] = { step_take,	   step_erase, step_fence,  step_settle, step_announce,
					     step_confirm, step_tell,  step_lookup, step_settle, NULL };
static const batch_step_fn leftover_steps[] = { step_erase, step_note, NULL };

static void begin(struct reap_batch *batch, const batch_step_fn *steps, size_t n, uint64_t now_ms)
{
	assert(batch->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	batch->steps = steps;
	batch->n = n;
	batch->now_ms = now_ms;
	batch->step = 0;
	batch->ours_until_mono_ms = clock_mono_ms() + batch->config.lease_ms;
}

void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms)
{
	begin(batch, lease_steps, n, now_ms);
	for (size_t i = 0; i < n; i++) {
		struct batch_item *item = &batch->items[i];

		*item = (struct batch_item){ .what.lease = leases[i] };
		item->what.is_expired = lease_plan_is_expired(&item->what.lease, batch->config.lease_ms, now_ms);
	}
	reap_batch_run(batch);
}

static void take_leftover(struct reap_batch *batch, size_t index, const struct reap_found *found)
{
	const struct leftover_find *find = &batch->finds[index];
	struct batch_item *item = &batch->items[index];
	struct reap_lease *lease = &item->what.lease;

	batch->config.on_judged(batch->config.ctx, find->vm_id, found->hold);
	*item = (struct batch_item){ .plan = LEASE_PLAN_LEAVE };
	if (found->hold == REAP_HOLD_HELD || !(found->hold == REAP_HOLD_OVER ? find->may_erase_over : find->may_erase))
		return;
	item->plan = LEASE_PLAN_ERASE;
	(void)snprintf(lease->id, sizeof(lease->id), "%s", found->id[0] ? found->id : "-"); /* all three fit */
	(void)snprintf(lease->vm_id, sizeof(lease->vm_id), "%s", find->vm_id);
	(void)snprintf(lease->host, sizeof(lease->host), "%s", batch->config.host);
	log_warn("reaper.leftover", "id=%s vm_id=%s message=\"objects on this host that nobody holds\"", lease->id,
		 lease->vm_id);
}

static void on_found(void *ctx, const struct reap_found *found)
{
	struct reap_batch *batch = ctx;

	if (!found || batch->config.is_stopping(batch->config.ctx)) {
		reap_batch_end(batch);
		return;
	}
	for (size_t i = 0; i < batch->n; i++)
		take_leftover(batch, i, &found[i]);
	reap_batch_run(batch);
}

void reap_batch_leftovers(struct reap_batch *batch, const struct leftover_find *finds, size_t n)
{
	const char *vm_ids[REAP_BATCH_MAX];

	begin(batch, leftover_steps, n, 0);
	memcpy(batch->finds, finds, n * sizeof(*finds));
	for (size_t i = 0; i < n; i++)
		vm_ids[i] = finds[i].vm_id;
	reap_find(batch->config.reap, vm_ids, n, on_found, batch);
}

int reap_batch_new(const struct reap_batch_config *config, struct reap_batch **ret, struct err *err)
{
	struct reap_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return err_set(err, ERR_HOST, ENOMEM, "set up the reaper's batches");
	batch->config = *config;
	*ret = batch;
	return 0;
}

void reap_batch_free(struct reap_batch *batch)
{
	free(batch);
}
