/* The steps of a batch in Redis: take, settle and close, confirm; of leftovers, note. */
#include <string.h>

#include "base/log.h"
#include "reaper/reap_batch_steps.h"

static void take_item(struct batch_item *item, uint64_t token)
{
	struct reap_lease *lease = &item->what.lease;

	item->plan = lease_plan_of(lease->state);
	lease->token = token;
	if (lease->state == REAP_STATE_RUNNING)
		memcpy(lease->victim, lease->owner, sizeof(lease->victim));
	if (lease->state != REAP_STATE_TOLD)
		log_info("reaper.take", "id=%s vm_id=%s was=%s victim=%s attempt=%u host=%s expired=%d", lease->id,
			 lease->vm_id, reap_state_name(lease->state), lease->victim, lease->attempt, lease->host,
			 item->what.is_expired);
}

static void on_taken(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	for (size_t i = 0; numbers && i < batch->n; i++)
		if (numbers[i] > 0)
			take_item(&batch->items[i], (uint64_t)numbers[i]);
	reap_batch_end_step(batch);
}

bool step_take(struct reap_batch *batch)
{
	struct reap_lease leases[REAP_BATCH_MAX];

	for (size_t i = 0; i < batch->n; i++)
		leases[i] = batch->items[i].what.lease;
	reap_take(batch->config.reap, leases, batch->n, on_taken, batch);
	return true;
}

/* Writes the verbs of all items that have one; false: none has. */
static bool settle(struct reap_batch *batch, reap_numbers_fn fn)
{
	struct reap_settlement settlements[REAP_BATCH_MAX];

	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++) {
		const struct batch_item *item = &batch->items[i];
		const struct reap_lease *lease = &item->what.lease;

		if (item->plan == LEASE_PLAN_LEAVE || item->verb == REAP_VERB_NONE)
			continue;
		settlements[batch->n_chosen] = (struct reap_settlement){ .id = lease->id,
									 .token = lease->token,
									 .verb = item->verb,
									 .is_key_destroyed = lease->is_key_destroyed };
		batch->chosen[batch->n_chosen++] = i;
	}
	if (batch->n_chosen == 0)
		return false;
	reap_settle(batch->config.reap, settlements, batch->n_chosen, fn, batch);
	return true;
}

static void end_settled(struct batch_item *item, bool is_ours)
{
	item->plan = is_ours && item->verb == REAP_VERB_ENDED ? LEASE_PLAN_TELL : LEASE_PLAN_LEAVE;
	item->verb = REAP_VERB_NONE;
	if (!is_ours)
		log_warn("reaper.overtaken", "id=%s message=\"another reaper took it meanwhile\"", item->what.lease.id);
}

static void on_settled(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	if (!numbers) { /* unknown: what is ours is so until its time is over */
		reap_batch_end(batch);
		return;
	}
	for (size_t i = 0; i < batch->n_chosen; i++)
		end_settled(&batch->items[batch->chosen[i]], numbers[i] == 1);
	reap_batch_end_step(batch);
}

bool step_settle(struct reap_batch *batch)
{
	return settle(batch, on_settled);
}

/* What is not known to be ours is not told: its announcement is withdrawn. What was not announced has its end with
 * this. */
static void on_confirmed(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct batch_item *item = &batch->items[batch->chosen[i]];

		item->verb = REAP_VERB_NONE;
		item->plan = item->is_announced && numbers && numbers[i] == 1 ? LEASE_PLAN_TELL : LEASE_PLAN_LEAVE;
	}
	reap_batch_end_step(batch);
}

/* To write "ended" is to ask: it answers whether the lease is ours. */
bool step_confirm(struct reap_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].is_announced)
			batch->items[i].verb = REAP_VERB_ENDED;
	return settle(batch, on_confirmed);
}

/* Nothing waits for it: a key of which Redis did not hear is told as not seen. */
static void on_noted(void *ctx, const int64_t *numbers)
{
	(void)numbers;
	reap_batch_end_step(ctx);
}

bool step_note(struct reap_batch *batch)
{
	const char *vm_ids[REAP_BATCH_MAX];
	size_t n = 0;

	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].what.lease.is_key_destroyed)
			vm_ids[n++] = batch->items[i].what.lease.vm_id;
	if (n == 0)
		return false;
	reap_note(batch->config.reap, vm_ids, n, on_noted, batch);
	return true;
}
