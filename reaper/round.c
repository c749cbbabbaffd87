#include "reaper/round.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/lease_keys.h"
#include "reaper/teller.h"
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
	struct teller_item what;
	enum plan plan;
	enum reap_verb verb; /* for the next settling */
	bool is_vm_gone; /* no process of it is left, or there was none */
	bool is_announced;   /* in the ledger, and not told yet */
};

struct round {
	struct round_config config;
	unsigned step;
	uint64_t now_ms;
	uint64_t ours_until_mono_ms; /* afterwards another reaper may have given a lease to a worker, here */
	struct item items[REAP_BATCH_MAX];
	size_t n;
	struct reap_find finds[REAP_BATCH_MAX]; /* of a healing round */
	size_t chosen[REAP_BATCH_MAX];		/* items of the request at hand */
	size_t n_chosen;
	size_t erasing; /* index of the item */
	unsigned erase_op;
	bool has_failed; /* something could not be erased in this round */
	char why_left[WHY_BYTES]; /* the first failure with the item at hand; "": none */
	struct lane_request lane_request;
	struct teller_request teller_request;
	uint64_t obstacles[TELLER_OP_COUNT]; /* log_likeness() of why it failed the last time; 0: it did not */
};

/* The VM first: as long as it is there it has the key, and can write to the disk's file what was there before. */
static const enum lane_op erase_ops[] = { LANE_OP_VM_DESTROY, LANE_OP_DISK_DESTROY_KEY, LANE_OP_DISK_ERASE };

static void run_steps(struct round *round);

static void end_round(struct round *round)
{
	round->n = 0;
	round->config.on_done(round->config.ctx);
}

static void end_step(struct round *round)
{
	round->step++;
	if (round->config.is_stopping(round->config.ctx))
		end_round(round);
	else
		run_steps(round);
}

static bool choose(struct round *round, enum plan plan)
{
	round->n_chosen = 0;
	for (size_t i = 0; i < round->n; i++)
		if (round->items[i].plan == plan && round->items[i].verb == REAP_VERB_NONE)
			round->chosen[round->n_chosen++] = i;
	return round->n_chosen > 0;
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
	struct round *round = ctx;

	for (size_t i = 0; numbers && i < round->n; i++)
		if (numbers[i] > 0)
			take_item(&round->items[i], (uint64_t)numbers[i]);
	end_step(round);
}

static bool start_take(struct round *round)
{
	struct reap_lease leases[REAP_BATCH_MAX];

	for (size_t i = 0; i < round->n; i++)
		leases[i] = round->items[i].what.lease;
	round->ours_until_mono_ms = clock_mono_ms() + round->config.lease_ms;
	reap_take(round->config.reap, leases, round->n, on_taken, round);
	return true;
}

/* erase */

static bool is_here(const struct round *round, const struct item *item)
{
	bool has_objects = item->plan == PLAN_REAP || item->plan == PLAN_ERASE;

	return has_objects && strcmp(item->what.lease.host, round->config.host) == 0;
}

static void erase_next(struct round *round);

static void note_erased(struct round *round, struct item *item, const struct lane_reply *reply)
{
	if (reply->op == LANE_OP_VM_DESTROY)
		item->is_vm_gone = reply->rc == 0 || reply->rc == -EBUSY; /* see cgroup_destroy(): nothing is left in it */
	if (reply->rc == 0 && reply->op == LANE_OP_DISK_DESTROY_KEY && reply->verified && item->is_vm_gone)
		item->what.lease.is_key_destroyed = true;
	if (reply->rc < 0 && !round->why_left[0])
		(void)snprintf(round->why_left, sizeof(round->why_left), "%s: %s",
			       lane_op_name((enum lane_op)reply->op), reply->msg); /* it fits */
}

/* The lane was lost over it. Another one may do the rest; but what hangs with a disk hangs again with the same disk. */
static void give_up_item(struct round *round)
{
	enum lane_op op = erase_ops[round->erase_op];

	if (!round->why_left[0])
		(void)snprintf(round->why_left, sizeof(round->why_left), "%s: the lane hung or died", lane_op_name(op));
	if (op != LANE_OP_VM_DESTROY)
		round->erase_op = ARRAY_SIZE(erase_ops) - 1;
}

/* What was not begun in time. On a host that is only slow it is left to whoever takes it next; where erasing fails, that could
 * go on for ever, and it goes on without: its objects are found again. */
static void leave_the_rest(struct round *round)
{
	for (; round->erasing < round->n; round->erasing++) {
		struct item *item = &round->items[round->erasing];

		if (!is_here(round, item))
			continue;
		log_warn("reaper.late", "id=%s message=\"not erased yet: erasing what came before it took as long as a lease\"",
			 item->what.lease.id);
		if (!round->has_failed)
			item->plan = PLAN_LEAVE;
	}
}

static void end_item(struct round *round)
{
	const struct item *item = &round->items[round->erasing];

	log_info("reaper.erased", "id=%s complete=%d key_destroyed=%d", item->what.lease.id, !round->why_left[0],
		 item->what.lease.is_key_destroyed);
	round->has_failed |= round->why_left[0] != '\0';
	if (round->why_left[0])
		round->config.on_left(round->config.ctx, item->what.lease.id, round->why_left);
	round->why_left[0] = '\0';
	round->erase_op = 0;
	round->erasing++;
}

static void on_erased(void *ctx, const void *data, size_t len)
{
	struct round *round = ctx;
	struct item *item = &round->items[round->erasing];
	struct lane_reply reply;
	struct err err;

	if (!data)
		give_up_item(round);
	else if (lane_reply_check(data, len, 0, &reply, &err) < 0 || reply.seq != round->lane_request.seq) {
		round->config.on_fault(round->config.ctx, "the lane answered something else than it was asked");
		return;
	} else
		note_erased(round, item, &reply);
	if (++round->erase_op == ARRAY_SIZE(erase_ops))
		end_item(round);
	erase_next(round);
}

static void erase_next(struct round *round)
{
	struct lane_request *request = &round->lane_request;

	if (round->erase_op == 0 && clock_mono_ms() >= round->ours_until_mono_ms)
		leave_the_rest(round);
	while (round->erasing < round->n && !is_here(round, &round->items[round->erasing]))
		round->erasing++;
	if (round->erasing == round->n) {
		end_step(round);
		return;
	}
	*request =
		(struct lane_request){ .magic = LANE_MAGIC, .op = erase_ops[round->erase_op], .seq = request->seq + 1 };
	memcpy(request->id, round->items[round->erasing].what.lease.id, sizeof(request->id));
	ask_send(round->config.lane, request, sizeof(*request), LANE_PATIENCE_MS, on_erased, round);
}

static bool start_erase(struct round *round)
{
	round->erasing = 0;
	round->erase_op = 0;
	round->why_left[0] = '\0';
	round->has_failed = false;
	for (size_t i = 0; i < round->n; i++)
		if (is_here(round, &round->items[i])) {
			erase_next(round);
			return true;
		}
	return false;
}

/* Kafka */

static void ask_teller(struct round *round, enum teller_op op,
		       void (*on_reply)(void *ctx, const void *data, size_t len))
{
	struct teller_request *request = &round->teller_request;

	request->magic = TELLER_MAGIC;
	request->op = op;
	request->n = (uint32_t)round->n_chosen;
	for (size_t i = 0; i < round->n_chosen; i++)
		request->items[i] = round->items[round->chosen[i]].what;
	ask_send(round->config.teller, request, teller_request_len(request->n), TELLER_PATIENCE_MS, on_reply, round);
}

/* Aloud once, and tried again for as long as it lasts. */
static void note_obstacle(struct round *round, const struct teller_reply *reply)
{
	uint64_t *obstacle = &round->obstacles[reply->op], likeness = reply->error[0] ? log_likeness(reply->error) : 0;
	enum log_level level = *obstacle == likeness ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;

	if (likeness)
		log_event(level, "reaper.kafka", "leases=%zu message=\"%s\"", round->n_chosen, reply->error);
	*obstacle = likeness;
}

/* NULL after a fault. */
static const struct teller_reply *check_teller(struct round *round, const void *data, size_t len)
{
	const struct teller_reply *reply = data;

	if (!data) /* its loss was told, and ends us */
		return NULL;
	if (len != sizeof(*reply) || reply->magic != TELLER_MAGIC || reply->op != round->teller_request.op ||
	    reply->n != round->n_chosen || !memchr(reply->error, '\0', sizeof(reply->error))) {
		round->config.on_fault(round->config.ctx, "the teller answered something else than it was asked");
		return NULL;
	}
	note_obstacle(round, reply);
	return reply;
}

static void decide(struct round *round, struct item *item)
{
	const struct reap_lease *lease = &item->what.lease;
	bool is_over = item->what.is_expired || lease->attempt >= round->config.max_attempts;

	item->verb = is_over ? REAP_VERB_ENDED : REAP_VERB_ORPHAN;
}

static void on_fenced(void *ctx, const void *data, size_t len)
{
	struct round *round = ctx;
	const struct teller_reply *reply = check_teller(round, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];

		if (reply->verdicts[i] == TELLER_VERDICT_TOLD)
			item->verb = REAP_VERB_DELETE;
		else if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD)
			decide(round, item);
		else
			item->plan = PLAN_LEAVE;
	}
	end_step(round);
}

static bool start_fence(struct round *round)
{
	for (size_t i = 0; i < round->n; i++) /* objects that nobody owned: what is left of them is found again */
		if (round->items[i].plan == PLAN_REAP && strcmp(round->items[i].what.lease.topic, "-") == 0)
			round->items[i].verb = REAP_VERB_DELETE;
	if (!choose(round, PLAN_REAP))
		return false;
	ask_teller(round, TELLER_OP_FENCE, on_fenced);
	return true;
}

static void on_announced(void *ctx, const void *data, size_t len)
{
	struct round *round = ctx;
	const struct teller_reply *reply = check_teller(round, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];

		item->is_announced = reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD;
		if (reply->verdicts[i] == TELLER_VERDICT_TOLD)
			item->verb = REAP_VERB_TOLD;
		else if (reply->verdicts[i] == TELLER_VERDICT_WANTED)
			item->verb = REAP_VERB_ORPHAN; /* for another lost_after_ms */
		else if (!item->is_announced)
			item->plan = PLAN_LEAVE;
	}
	end_step(round);
}

static bool start_announce(struct round *round)
{
	if (!choose(round, PLAN_TELL))
		return false;
	ask_teller(round, TELLER_OP_ANNOUNCE, on_announced);
	return true;
}

static void on_told(void *ctx, const void *data, size_t len)
{
	struct round *round = ctx;
	const struct teller_reply *reply = check_teller(round, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];

		if (reply->verdicts[i] == TELLER_VERDICT_TOLD && item->plan == PLAN_TELL)
			item->verb = REAP_VERB_TOLD;
	}
	end_step(round);
}

static bool start_tell(struct round *round)
{
	round->n_chosen = 0;
	for (size_t i = 0; i < round->n; i++) {
		struct item *item = &round->items[i];

		item->what.is_withdrawn = item->plan != PLAN_TELL;
		if (item->is_announced)
			round->chosen[round->n_chosen++] = i;
	}
	if (round->n_chosen == 0)
		return false;
	ask_teller(round, TELLER_OP_TELL, on_told);
	return true;
}

static void on_looked(void *ctx, const void *data, size_t len)
{
	struct round *round = ctx;
	const struct teller_reply *reply = check_teller(round, data, len);

	if (!reply)
		return;
	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];
		bool is_old = round->now_ms > item->what.lease.expires_ms + TOLD_KEPT_MS;
		bool is_done = reply->verdicts[i] == TELLER_VERDICT_TOLD;

		item->verb = is_done || is_old ? REAP_VERB_DELETE : REAP_VERB_TOLD;
	}
	end_step(round);
}

static bool start_look(struct round *round)
{
	if (!choose(round, PLAN_WATCH))
		return false;
	ask_teller(round, TELLER_OP_LOOKUP, on_looked);
	return true;
}

/* settle, close */

static void on_settled(void *ctx, const int64_t *numbers)
{
	struct round *round = ctx;

	if (!numbers) { /* unknown: what is ours is so until its time is over */
		end_round(round);
		return;
	}
	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];
		bool is_ours = numbers[i] == 1;

		item->plan = is_ours && item->verb == REAP_VERB_ENDED ? PLAN_TELL : PLAN_LEAVE;
		item->verb = REAP_VERB_NONE;
		if (!is_ours)
			log_warn("reaper.overtaken", "id=%s message=\"another reaper took it meanwhile\"",
				 item->what.lease.id);
	}
	end_step(round);
}

static bool settle(struct round *round, reap_numbers_fn fn)
{
	struct reap_settlement settlements[REAP_BATCH_MAX];

	round->n_chosen = 0;
	for (size_t i = 0; i < round->n; i++) {
		const struct item *item = &round->items[i];

		if (item->plan == PLAN_LEAVE || item->verb == REAP_VERB_NONE)
			continue;
		settlements[round->n_chosen] = (struct reap_settlement){ .id = item->what.lease.id,
									 .token = item->what.lease.token,
									 .verb = item->verb,
									 .is_key_destroyed =
										 item->what.lease.is_key_destroyed,
									 .lost_ms = item->what.lease.lost_ms };
		round->chosen[round->n_chosen++] = i;
	}
	if (round->n_chosen == 0)
		return false;
	reap_settle(round->config.reap, settlements, round->n_chosen, fn, round);
	return true;
}

static bool start_settle(struct round *round)
{
	return settle(round, on_settled);
}

/* What is not known to be ours is not told: its announcement is withdrawn. What was not announced has its end with this. */
static void on_confirmed(void *ctx, const int64_t *numbers)
{
	struct round *round = ctx;

	for (size_t i = 0; i < round->n_chosen; i++) {
		struct item *item = &round->items[round->chosen[i]];

		item->verb = REAP_VERB_NONE;
		item->plan = item->is_announced && numbers && numbers[i] == 1 ? PLAN_TELL : PLAN_LEAVE;
	}
	end_step(round);
}

static bool start_confirm(struct round *round)
{
	for (size_t i = 0; i < round->n; i++)
		if (round->items[i].is_announced)
			round->items[i].verb = REAP_VERB_ENDED;
	return settle(round, on_confirmed);
}

/* Each starts its step and answers true, or has nothing to do. */
static bool (*const steps[])(struct round *round) = { start_take,     start_erase,   start_fence, start_settle, start_announce,
						      start_confirm, start_tell,    start_look,  start_settle };

static void run_steps(struct round *round)
{
	while (round->step < ARRAY_SIZE(steps))
		if (steps[round->step](round))
			return;
		else
			round->step++;
	end_round(round);
}

/* Did the workspace live to the end of its ttl_ms? Yes when its worker renewed the lease after that; it ended the task
 * then, or should have. A worker that was last heard before is a worker that died: its task is tried again, in a
 * workspace with a life of its own, however late we look. */
static void mend_expiry(struct reap_lease *lease, uint64_t lease_ms)
{
	if (lease->state == REAP_STATE_RUNNING && lease->expires_ms + lease_ms > lease->due_ms)
		lease->expires_ms = LEASE_NEVER_MS;
}

void round_reap(struct round *round, const struct reap_lease *leases, size_t n, uint64_t now_ms)
{
	assert(round->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	round->n = n;
	round->now_ms = now_ms;
	for (size_t i = 0; i < n; i++) {
		round->items[i] = (struct item){ .what.lease = leases[i] };
		mend_expiry(&round->items[i].what.lease, round->config.lease_ms);
		round->items[i].what.is_expired = round->items[i].what.lease.expires_ms <= now_ms;
	}
	round->step = 0;
	run_steps(round);
}

static void heal_item(struct round *round, size_t index, int64_t number, const struct reap_lease *lease)
{
	struct item *item = &round->items[index];

	round->config.on_judged(round->config.ctx, round->finds[index].id, number);
	*item = (struct item){ .plan = PLAN_LEAVE };
	if (!round->finds[index].may_take || number == 0)
		return;
	item->plan = number > 0 ? PLAN_REAP : PLAN_ERASE;
	if (number > 0)
		item->what.lease = *lease;
	(void)snprintf(item->what.lease.id, sizeof(item->what.lease.id), "%s", round->finds[index].id); /* an id fits */
	(void)snprintf(item->what.lease.host, sizeof(item->what.lease.host), "%s", round->config.host);
	item->what.is_expired = number > 0 && lease->expires_ms <= round->now_ms;
	log_warn("reaper.heal", "id=%s message=\"objects on this host that nobody holds\"", item->what.lease.id);
}

static void on_healed(void *ctx, const int64_t *numbers, const struct reap_lease *leases)
{
	struct round *round = ctx;

	if (!numbers) {
		end_round(round);
		return;
	}
	for (size_t i = 0; i < round->n; i++)
		heal_item(round, i, numbers[i], &leases[i]);
	end_step(round);
}

void round_heal(struct round *round, const struct reap_find *finds, size_t n, uint64_t now_ms)
{
	assert(round->n == 0 && n > 0 && n <= REAP_BATCH_MAX);
	round->n = n;
	round->now_ms = now_ms;
	memcpy(round->finds, finds, n * sizeof(*finds));
	round->step = 0; /* instead of taking */
	round->ours_until_mono_ms = clock_mono_ms() + round->config.lease_ms;
	reap_heal(round->config.reap, round->finds, n, on_healed, round);
}

int round_new(const struct round_config *config, struct round **ret, struct err *err)
{
	struct round *round = calloc(1, sizeof(*round));

	if (!round)
		return err_set(err, ERR_HOST, ENOMEM, "set up the reaper's rounds");
	round->config = *config;
	*ret = round;
	return 0;
}

void round_free(struct round *round)
{
	free(round);
}
