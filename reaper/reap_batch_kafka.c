/* The steps of a batch in Kafka, through the reaper's Kafka process: fence, announce, tell, lookup. */
#include <string.h>

#include "base/log.h"
#include "reaper/reap_batch_steps.h"

#define TOLD_KEPT_MS (7ull * 24 * 3600 * 1000) /* since it was told: Kafka's default retention of the record itself */

/* What the answer means for one item. */
typedef void (*take_verdict_fn)(const struct reap_batch *batch, struct batch_item *item, enum kafka_verdict verdict);

/* Aloud once, and tried again for as long as it lasts. */
static void note_obstacle(struct reap_batch *batch, const struct kafka_reply *reply)
{
	uint64_t *obstacle = &batch->obstacles[reply->op], likeness = reply->error[0] ? log_likeness(reply->error) : 0;
	enum log_level level = *obstacle == likeness ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;

	if (likeness)
		log_event(level, "reaper.kafka", "leases=%zu message=\"%s\"", batch->n_chosen, reply->error);
	*obstacle = likeness;
}

static void take_verdicts(struct reap_batch *batch, const struct kafka_reply *reply, take_verdict_fn take)
{
	note_obstacle(batch, reply);
	for (size_t i = 0; i < batch->n_chosen; i++)
		take(batch, &batch->items[batch->chosen[i]], (enum kafka_verdict)reply->verdicts[i]);
	reap_batch_end_step(batch);
}

static void call_kafka(struct reap_batch *batch, enum kafka_op op, kafka_client_fn fn)
{
	struct kafka_item items[REAP_BATCH_MAX];

	for (size_t i = 0; i < batch->n_chosen; i++)
		items[i] = batch->items[batch->chosen[i]].what;
	kafka_client_call(batch->config.kafka, op, items, batch->n_chosen, fn, batch);
}

static void take_fenced(const struct reap_batch *batch, struct batch_item *item, enum kafka_verdict verdict)
{
	if (verdict == KAFKA_VERDICT_TOLD)
		item->verb = REAP_VERB_DELETE;
	else if (verdict == KAFKA_VERDICT_NOT_TOLD)
		item->verb = lease_plan_after_fence(item->what.is_expired, item->what.lease.attempt,
						    batch->config.max_attempts);
	else
		item->plan = LEASE_PLAN_LEAVE;
}

static void on_fenced(void *ctx, const struct kafka_reply *reply)
{
	take_verdicts(ctx, reply, take_fenced);
}

bool step_fence(struct reap_batch *batch)
{
	if (!reap_batch_choose(batch, LEASE_PLAN_REAP))
		return false;
	call_kafka(batch, KAFKA_OP_FENCE, on_fenced);
	return true;
}

static void take_announced(const struct reap_batch *batch, struct batch_item *item, enum kafka_verdict verdict)
{
	(void)batch;
	item->is_announced = verdict == KAFKA_VERDICT_NOT_TOLD;
	if (verdict == KAFKA_VERDICT_TOLD)
		item->verb = REAP_VERB_TOLD;
	else if (verdict == KAFKA_VERDICT_HAS_WORKERS)
		item->verb = REAP_VERB_ORPHAN; /* for another lost_after_ms */
	else if (!item->is_announced)
		item->plan = LEASE_PLAN_LEAVE;
}

static void on_announced(void *ctx, const struct kafka_reply *reply)
{
	take_verdicts(ctx, reply, take_announced);
}

bool step_announce(struct reap_batch *batch)
{
	if (!reap_batch_choose(batch, LEASE_PLAN_TELL))
		return false;
	call_kafka(batch, KAFKA_OP_ANNOUNCE, on_announced);
	return true;
}

static void take_told(const struct reap_batch *batch, struct batch_item *item, enum kafka_verdict verdict)
{
	(void)batch;
	if (verdict == KAFKA_VERDICT_TOLD && item->plan == LEASE_PLAN_TELL)
		item->verb = REAP_VERB_TOLD;
}

static void on_told(void *ctx, const struct kafka_reply *reply)
{
	take_verdicts(ctx, reply, take_told);
}

/* All that is announced, also what was not confirmed: its announcement is withdrawn. */
bool step_tell(struct reap_batch *batch)
{
	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++) {
		struct batch_item *item = &batch->items[i];

		item->what.is_withdrawn = item->plan != LEASE_PLAN_TELL;
		if (item->is_announced)
			batch->chosen[batch->n_chosen++] = i;
	}
	if (batch->n_chosen == 0)
		return false;
	call_kafka(batch, KAFKA_OP_TELL, on_told);
	return true;
}

static void take_looked_up(const struct reap_batch *batch, struct batch_item *item, enum kafka_verdict verdict)
{
	bool is_old = batch->now_ms > item->what.lease.expires_ms + TOLD_KEPT_MS;

	item->verb = verdict == KAFKA_VERDICT_TOLD || is_old ? REAP_VERB_DELETE : REAP_VERB_TOLD;
}

static void on_looked_up(void *ctx, const struct kafka_reply *reply)
{
	take_verdicts(ctx, reply, take_looked_up);
}

bool step_lookup(struct reap_batch *batch)
{
	if (!reap_batch_choose(batch, LEASE_PLAN_WATCH))
		return false;
	call_kafka(batch, KAFKA_OP_LOOKUP, on_looked_up);
	return true;
}
