#include "reaper/reap_batch.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/lease_keys.h"
#include "reaper/kafka_process.h"
#include "wire/lane.h"

#define LANE_PATIENCE_MS 20000 /* of one erasing call: a VM that dies slowly, a disk that syncs slowly */
#define WHY_BYTES 320 /* the name of an operation and what the lane said of it */
#define TOLD_KEPT_MS \
	(7ull * 24 * 3600 * 1000) /* since it was told: Kafka's default retention of the record itself */

enum plan {
	PLAN_LEAVE, /* nothing, or nothing more */
	PLAN_REAP,  /* ours, in state reaping */
	PLAN_ERASE, /* only objects, no lease */
	PLAN_TELL,  /* ours, in state ended */
	PLAN_WATCH, /* ours, in state told */
};

struct item {
	struct kafka_item what;
	enum plan plan;
	enum reap_verb verb; /* for the next settling */
	bool is_vm_gone; /* no process of it is left, or there was none */
	bool is_announced;   /* in the ledger, and not told yet */
};

struct reap_batch {
	struct reap_batch_config config;
	unsigned step;
	uint64_t now_ms;
	uint64_t ours_until_mono_ms; /* afterwards another reaper may have given a lease to a worker, here */
	struct item items[REAP_BATCH_MAX];
	size_t n;
	struct reap_find finds[REAP_BATCH_MAX]; /* of a batch of leftovers */
	size_t chosen[REAP_BATCH_MAX];		/* items of the request at hand */
	size_t n_chosen;
	size_t erasing; /* index of the item */
	unsigned erase_op;
	bool has_failed; /* something could not be erased in this batch */
	char why_left[WHY_BYTES]; /* the first failure with the item at hand; "": none */
	struct lane_request lane_request;
	struct kafka_request kafka_request;
	uint64_t obstacles[KAFKA_OP_COUNT]; /* log_likeness() of why it failed the last time; 0: it did not */
};

/* The VM first: as long as it is there it has the key, and can write to the disk's file what was there before. */
static const enum lane_op erase_ops[] = { LANE_OP_VM_DESTROY, LANE_OP_DISK_DESTROY_KEY, LANE_OP_DISK_ERASE };

static void run_steps(struct reap_batch *batch);

static void end_batch(struct reap_batch *batch)
{
	batch->n = 0;
	batch->config.on_done(batch->config.ctx);
}

static void end_step(struct reap_batch *batch)
{
	batch->step++;
	if (batch->config.is_stopping(batch->config.ctx))
		end_batch(batch);
	else
		run_steps(batch);
}

static bool choose(struct reap_batch *batch, enum plan plan)
{
	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].plan == plan && batch->items[i].verb == REAP_VERB_NONE)
			batch->chosen[batch->n_chosen++] = i;
	return batch->n_chosen > 0;
}

/* take */

static enum plan plan_of(enum reap_state state)
{
	switch (state) {
	case REAP_STATE_RUNNING:
	case REAP_STATE_REAPING:
		return PLAN_REAP;
	case REAP_STATE_ORPHAN:
	case REAP_STATE_ENDED:
		return PLAN_TELL;
	case REAP_STATE_TOLD:
		return PLAN_WATCH;
	case REAP_STATE_COUNT:
		break;
	}
	return PLAN_LEAVE;
}

static void take_item(struct item *item, uint64_t token)
{
	struct reap_lease *lease = &item->what.lease;

	item->plan = plan_of(lease->state);
	lease->token = token;
	if (lease->state == REAP_STATE_RUNNING)
		memcpy(lease->victim, lease->owner, sizeof(lease->victim));
	if (lease->state != REAP_STATE_TOLD)
		log_info("reaper.take", "id=%s was=%s victim=%s attempt=%u host=%s expired=%d", lease->id,
			 reap_state_name(lease->state), lease->victim, lease->attempt, lease->host,
			 item->what.is_expired);
}

static void on_taken(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	for (size_t i = 0; numbers && i < batch->n; i++)
		if (numbers[i] > 0)
			take_item(&batch->items[i], (uint64_t)numbers[i]);
	end_step(batch);
}

static bool start_take(struct reap_batch *batch)
{
	struct reap_lease leases[REAP_BATCH_MAX];

	for (size_t i = 0; i < batch->n; i++)
		leases[i] = batch->items[i].what.lease;
	batch->ours_until_mono_ms = clock_mono_ms() + batch->config.lease_ms;
	reap_take(batch->config.reap, leases, batch->n, on_taken, batch);
	return true;
}

/* erase */

static bool is_here(const struct reap_batch *batch, const struct item *item)
{
	bool has_objects = item->plan == PLAN_REAP || item->plan == PLAN_ERASE;

	return has_objects && strcmp(item->what.lease.host, batch->config.host) == 0;
}

static void erase_next(struct reap_batch *batch);

static void note_erased(struct reap_batch *batch, struct item *item, const struct lane_reply *reply)
{
	if (reply->op == LANE_OP_VM_DESTROY)
		item->is_vm_gone = reply->rc == 0 || reply->rc == -EBUSY; /* see cgroup_destroy(): nothing is left in it */
	if (reply->rc == 0 && reply->op == LANE_OP_DISK_DESTROY_KEY && reply->verified && item->is_vm_gone)
		item->what.lease.is_key_destroyed = true;
	if (reply->rc < 0 && !batch->why_left[0])
		(void)snprintf(batch->why_left, sizeof(batch->why_left), "%s: %s",
			       lane_op_name((enum lane_op)reply->op), reply->msg); /* it fits */
}

/* The lane was lost over it. Another one may do the rest; but what hangs with a disk hangs again with the same disk. */
static void give_up_item(struct reap_batch *batch)
{
	enum lane_op op = erase_ops[batch->erase_op];

	if (!batch->why_left[0])
		(void)snprintf(batch->why_left, sizeof(batch->why_left), "%s: the lane hung or died", lane_op_name(op));
	if (op != LANE_OP_VM_DESTROY)
		batch->erase_op = ARRAY_SIZE(erase_ops) - 1;
}

/* What was not begun in time. On a host that is only slow it is left to whoever takes it next; where erasing fails, that could
 * go on for ever, and it goes on without: its objects are found again. */
static void leave_the_rest(struct reap_batch *batch)
{
	for (; batch->erasing < batch->n; batch->erasing++) {
		struct item *item = &batch->items[batch->erasing];

		if (!is_here(batch, item))
			continue;
		log_warn("reaper.late", "id=%s message=\"not erased yet: erasing what came before it took as long as a lease\"",
			 item->what.lease.id);
		if (!batch->has_failed)
			item->plan = PLAN_LEAVE;
	}
}

static void end_item(struct reap_batch *batch)
{
	const struct item *item = &batch->items[batch->erasing];

	log_info("reaper.erased", "id=%s complete=%d key_destroyed=%d", item->what.lease.id, !batch->why_left[0],
		 item->what.lease.is_key_destroyed);
	batch->has_failed |= batch->why_left[0] != '\0';
	if (batch->why_left[0])
		batch->config.on_left(batch->config.ctx, item->what.lease.id, batch->why_left);
	batch->why_left[0] = '\0';
	batch->erase_op = 0;
	batch->erasing++;
}

static void on_erased(void *ctx, const void *data, size_t len)
{
	struct reap_batch *batch = ctx;
	struct item *item = &batch->items[batch->erasing];
	struct lane_reply reply;
	struct err err;

	if (!data)
		give_up_item(batch);
	else if (lane_reply_check(data, len, 0, &reply, &err) < 0 || reply.seq != batch->lane_request.seq) {
		batch->config.on_fault(batch->config.ctx, "the lane answered something else than it was asked");
		return;
	} else
		note_erased(batch, item, &reply);
	if (++batch->erase_op == ARRAY_SIZE(erase_ops))
		end_item(batch);
	erase_next(batch);
}

static void erase_next(struct reap_batch *batch)
{
	struct lane_request *request = &batch->lane_request;

	if (batch->erase_op == 0 && clock_mono_ms() >= batch->ours_until_mono_ms)
		leave_the_rest(batch);
	while (batch->erasing < batch->n && !is_here(batch, &batch->items[batch->erasing]))
		batch->erasing++;
	if (batch->erasing == batch->n) {
		end_step(batch);
		return;
	}
	*request =
		(struct lane_request){ .magic = LANE_MAGIC, .op = erase_ops[batch->erase_op], .seq = request->seq + 1 };
	memcpy(request->id, batch->items[batch->erasing].what.lease.id, sizeof(request->id));
	helper_link_call(batch->config.lane, request, sizeof(*request), LANE_PATIENCE_MS, on_erased, batch);
}

static bool start_erase(struct reap_batch *batch)
{
	batch->erasing = 0;
	batch->erase_op = 0;
	batch->why_left[0] = '\0';
	batch->has_failed = false;
	for (size_t i = 0; i < batch->n; i++)
		if (is_here(batch, &batch->items[i])) {
			erase_next(batch);
			return true;
		}
	return false;
}

/* Kafka */

static void call_kafka(struct reap_batch *batch, enum kafka_op op,
		       void (*on_reply)(void *ctx, const void *data, size_t len))
{
	struct kafka_request *request = &batch->kafka_request;

	request->magic = KAFKA_PROCESS_MAGIC;
	request->op = op;
	request->n = (uint32_t)batch->n_chosen;
	for (size_t i = 0; i < batch->n_chosen; i++)
		request->items[i] = batch->items[batch->chosen[i]].what;
	helper_link_call(batch->config.kafka, request, kafka_request_len(request->n), KAFKA_PROCESS_PATIENCE_MS, on_reply, batch);
}

/* Aloud once, and tried again for as long as it lasts. */
static void note_obstacle(struct reap_batch *batch, const struct kafka_reply *reply)
{
	uint64_t *obstacle = &batch->obstacles[reply->op], likeness = reply->error[0] ? log_likeness(reply->error) : 0;
	enum log_level level = *obstacle == likeness ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;

	if (likeness)
		log_event(level, "reaper.kafka", "leases=%zu message=\"%s\"", batch->n_chosen, reply->error);
	*obstacle = likeness;
}

/* NULL after a fault. */
static const struct kafka_reply *check_kafka_reply(struct reap_batch *batch, const void *data, size_t len)
{
	const struct kafka_reply *reply = data;

	if (!data) /* its loss was told, and ends us */
		return NULL;
	if (len != sizeof(*reply) || reply->magic != KAFKA_PROCESS_MAGIC || reply->op != batch->kafka_request.op ||
	    reply->n != batch->n_chosen || !memchr(reply->error, '\0', sizeof(reply->error))) {
		batch->config.on_fault(batch->config.ctx, "the Kafka process answered something else than it was asked");
		return NULL;
	}
	note_obstacle(batch, reply);
	return reply;
}

static void decide(struct reap_batch *batch, struct item *item)
{
	const struct reap_lease *lease = &item->what.lease;
	bool is_over = item->what.is_expired || lease->attempt >= batch->config.max_attempts;

	item->verb = is_over ? REAP_VERB_ENDED : REAP_VERB_ORPHAN;
}

static void on_fenced(void *ctx, const void *data, size_t len)
{
	struct reap_batch *batch = ctx;
	const struct kafka_reply *reply = check_kafka_reply(batch, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];

		if (reply->verdicts[i] == KAFKA_VERDICT_TOLD)
			item->verb = REAP_VERB_DELETE;
		else if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD)
			decide(batch, item);
		else
			item->plan = PLAN_LEAVE;
	}
	end_step(batch);
}

static bool start_fence(struct reap_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++) /* objects that nobody owned: what is left of them is found again */
		if (batch->items[i].plan == PLAN_REAP && strcmp(batch->items[i].what.lease.topic, "-") == 0)
			batch->items[i].verb = REAP_VERB_DELETE;
	if (!choose(batch, PLAN_REAP))
		return false;
	call_kafka(batch, KAFKA_OP_FENCE, on_fenced);
	return true;
}

static void on_announced(void *ctx, const void *data, size_t len)
{
	struct reap_batch *batch = ctx;
	const struct kafka_reply *reply = check_kafka_reply(batch, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];

		item->is_announced = reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD;
		if (reply->verdicts[i] == KAFKA_VERDICT_TOLD)
			item->verb = REAP_VERB_TOLD;
		else if (reply->verdicts[i] == KAFKA_VERDICT_HAS_WORKERS)
			item->verb = REAP_VERB_ORPHAN; /* for another lost_after_ms */
		else if (!item->is_announced)
			item->plan = PLAN_LEAVE;
	}
	end_step(batch);
}

static bool start_announce(struct reap_batch *batch)
{
	if (!choose(batch, PLAN_TELL))
		return false;
	call_kafka(batch, KAFKA_OP_ANNOUNCE, on_announced);
	return true;
}

static void on_told(void *ctx, const void *data, size_t len)
{
	struct reap_batch *batch = ctx;
	const struct kafka_reply *reply = check_kafka_reply(batch, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];

		if (reply->verdicts[i] == KAFKA_VERDICT_TOLD && item->plan == PLAN_TELL)
			item->verb = REAP_VERB_TOLD;
	}
	end_step(batch);
}

static bool start_tell(struct reap_batch *batch)
{
	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++) {
		struct item *item = &batch->items[i];

		item->what.is_withdrawn = item->plan != PLAN_TELL;
		if (item->is_announced)
			batch->chosen[batch->n_chosen++] = i;
	}
	if (batch->n_chosen == 0)
		return false;
	call_kafka(batch, KAFKA_OP_TELL, on_told);
	return true;
}

static void on_looked(void *ctx, const void *data, size_t len)
{
	struct reap_batch *batch = ctx;
	const struct kafka_reply *reply = check_kafka_reply(batch, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];
		bool is_old = batch->now_ms > item->what.lease.expires_ms + TOLD_KEPT_MS;
		bool is_done = reply->verdicts[i] == KAFKA_VERDICT_TOLD;

		item->verb = is_done || is_old ? REAP_VERB_DELETE : REAP_VERB_TOLD;
	}
	end_step(batch);
}

static bool start_look(struct reap_batch *batch)
{
	if (!choose(batch, PLAN_WATCH))
		return false;
	call_kafka(batch, KAFKA_OP_LOOKUP, on_looked);
	return true;
}

/* settle, close */

static void on_settled(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	if (!numbers) { /* unknown: what is ours is so until its time is over */
		end_batch(batch);
		return;
	}
	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];
		bool is_ours = numbers[i] == 1;

		item->plan = is_ours && item->verb == REAP_VERB_ENDED ? PLAN_TELL : PLAN_LEAVE;
		item->verb = REAP_VERB_NONE;
		if (!is_ours)
			log_warn("reaper.overtaken", "id=%s message=\"another reaper took it meanwhile\"",
				 item->what.lease.id);
	}
	end_step(batch);
}

static bool settle(struct reap_batch *batch, reap_numbers_fn fn)
{
	struct reap_settlement settlements[REAP_BATCH_MAX];

	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++) {
		const struct item *item = &batch->items[i];

		if (item->plan == PLAN_LEAVE || item->verb == REAP_VERB_NONE)
			continue;
		settlements[batch->n_chosen] = (struct reap_settlement){ .id = item->what.lease.id,
									 .token = item->what.lease.token,
									 .verb = item->verb,
									 .is_key_destroyed =
										 item->what.lease.is_key_destroyed,
									 .lost_ms = item->what.lease.lost_ms };
		batch->chosen[batch->n_chosen++] = i;
	}
	if (batch->n_chosen == 0)
		return false;
	reap_settle(batch->config.reap, settlements, batch->n_chosen, fn, batch);
	return true;
}

static bool start_settle(struct reap_batch *batch)
{
	return settle(batch, on_settled);
}

/* What is not known to be ours is not told: its announcement is withdrawn. What was not announced has its end with this. */
static void on_confirmed(void *ctx, const int64_t *numbers)
{
	struct reap_batch *batch = ctx;

	for (size_t i = 0; i < batch->n_chosen; i++) {
		struct item *item = &batch->items[batch->chosen[i]];

		item->verb = REAP_VERB_NONE;
		item->plan = item->is_announced && numbers && numbers[i] == 1 ? PLAN_TELL : PLAN_LEAVE;
	}
	end_step(batch);
}

static bool start_confirm(struct reap_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].is_announced)
			batch->items[i].verb = REAP_VERB_ENDED;
	return settle(batch, on_confirmed);
}

/* Each starts its step and answers true, or has nothing to do. */
static bool (*const steps[])(struct reap_batch *batch) = { start_take,     start_erase,   start_fence, start_settle, start_announce,
						      start_confirm, start_tell,    start_look,  start_settle };

static void run_steps(struct reap_batch *batch)
{
	while (batch->step < ARRAY_SIZE(steps))
		if (steps[batch->step](batch))
			return;
		else
			batch->step++;
	end_batch(batch);
}

/* Did the workspace live to the end of its ttl_ms? Yes when its worker renewed the lease after that; it ended the task
 * then, or should have. A worker that was last heard before is a worker that died: its task is tried again, in a
 * workspace with a life of its own, however late we look. */
static void mend_expiry(struct reap_lease *lease, uint64_t lease_ms)
{
	if (lease->state == REAP_STATE_RUNNING && lease->expires_ms + lease_ms > lease->due_ms)
		lease->expires_ms = LEASE_NEVER_MS;
}

void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms)
{
	assert(batch->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	batch->n = n;
	batch->now_ms = now_ms;
	for (size_t i = 0; i < n; i++) {
		batch->items[i] = (struct item){ .what.lease = leases[i] };
		mend_expiry(&batch->items[i].what.lease, batch->config.lease_ms);
		batch->items[i].what.is_expired = batch->items[i].what.lease.expires_ms <= now_ms;
	}
	batch->step = 0;
	run_steps(batch);
}

static void take_leftover(struct reap_batch *batch, size_t index, int64_t number, const struct reap_lease *lease)
{
	struct item *item = &batch->items[index];

	batch->config.on_judged(batch->config.ctx, batch->finds[index].id, number);
	*item = (struct item){ .plan = PLAN_LEAVE };
	if (!batch->finds[index].may_take || number == 0)
		return;
	item->plan = number > 0 ? PLAN_REAP : PLAN_ERASE;
	if (number > 0)
		item->what.lease = *lease;
	(void)snprintf(item->what.lease.id, sizeof(item->what.lease.id), "%s", batch->finds[index].id); /* an id fits */
	(void)snprintf(item->what.lease.host, sizeof(item->what.lease.host), "%s", batch->config.host);
	item->what.is_expired = number > 0 && lease->expires_ms <= batch->now_ms;
	log_warn("reaper.leftover", "id=%s message=\"objects on this host that nobody holds\"", item->what.lease.id);
}

static void on_leftovers_taken(void *ctx, const int64_t *numbers, const struct reap_lease *leases)
{
	struct reap_batch *batch = ctx;

	if (!numbers) {
		end_batch(batch);
		return;
	}
	for (size_t i = 0; i < batch->n; i++)
		take_leftover(batch, i, numbers[i], &leases[i]);
	end_step(batch);
}

void reap_batch_leftovers(struct reap_batch *batch, const struct reap_find *finds, size_t n, uint64_t now_ms)
{
	assert(batch->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	batch->n = n;
	batch->now_ms = now_ms;
	memcpy(batch->finds, finds, n * sizeof(*finds));
	batch->step = 0; /* instead of taking */
	batch->ours_until_mono_ms = clock_mono_ms() + batch->config.lease_ms;
	reap_heal(batch->config.reap, batch->finds, n, on_leftovers_taken, batch);
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
