/* Requests of one turn of the loop are encoded straight into the batch of their kind; a `soon` timer sends all of
 * them.
 *
 * A batch whose answer got lost is UNKNOWN to those who asked, but not forgotten: when the connection is back, and
 * before anything else is sent, finishes and releases are sent again and claims are undone. A lease that ran out
 * although its worker is well would make the reaper fence that worker. */
#include "bus/lease.h"

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/tally.h"
#include "bus/lease_keys.h"
#include "bus/lease_library.h"
#include "bus/lease_reply.h"
#include "bus/redis.h"
#include "loop/timer.h"

#define LEASE_LOST_MAX	256 /* batches; more are left to run out */
#define LEASE_BATCH_MAX 64  /* ids in one script call: measured, larger ones cost more per id and delay others */

/* In the order in which a turn sends them: what is handed back may be claimed again in the same turn. */
enum lease_op {
	LEASE_OP_FINISH,
	LEASE_OP_RELEASE,
	LEASE_OP_ABANDON,
	LEASE_OP_LET_GO,
	LEASE_OP_RENEW,
	LEASE_OP_HOLD,
	LEASE_OP_CLAIM,
	LEASE_OP_UNDO,
	LEASE_OP_COUNT
};

static const char *const functions[] = {
	[LEASE_OP_FINISH] = "finish",	 [LEASE_OP_RELEASE] = "give_back", [LEASE_OP_ABANDON] = "give_back",
	[LEASE_OP_LET_GO] = "let_go",	 [LEASE_OP_RENEW] = "renew",	   [LEASE_OP_HOLD] = "hold",
	[LEASE_OP_CLAIM] = "claim",	 [LEASE_OP_UNDO] = "undo",
};
static_assert(ARRAY_SIZE(functions) == LEASE_OP_COUNT, "a function for every lease_op");

struct lease_waiter {
	lease_fn fn; /* NULL: forgotten */
	void *ctx;
	uint64_t token; /* of a renewal */
};

struct lease_batch {
	TAILQ_ENTRY(lease_batch) entry; /* while it is in flight or lost */
	struct leases *leases;
	enum lease_op op;
	struct redis_args args;
	struct redis_args args_again; /* of what is sent again when the answer gets lost; else empty */
	uint64_t sent_mono_ms;
	size_t n;
	struct lease_waiter waiters[LEASE_BATCH_MAX];
};

TAILQ_HEAD(lease_batches, lease_batch);

struct leases {
	struct redis *redis;
	struct timer *send_timer;
	struct lease_batch *next[LEASE_OP_COUNT]; /* being collected; NULL: nothing yet */
	struct tally waiting; /* requests of each ctx that are not answered */
	struct lease_batches in_flight;
	struct lease_batches lost; /* to be sent again when the connection is back */
	unsigned n_lost;
	struct lease_keys keys;
	char *owner, *host;
	const char *const *topics;
	size_t n_topics;
	char *topics_text; /* "a b c" */
	unsigned lease_ms, max_attempts;
	uint64_t n_connections;
};

static void batch_free(struct lease_batch *batch)
{
	if (!batch)
		return;
	redis_args_free(&batch->args);
	redis_args_free(&batch->args_again);
	free(batch);
}

/* The arguments before those of the leases; an undoing has its claim's. */
static void add_common_args(struct lease_batch *batch)
{
	struct leases *leases = batch->leases;

	bool is_dated = batch->op == LEASE_OP_CLAIM || batch->op == LEASE_OP_RENEW || batch->op == LEASE_OP_HOLD;

	redis_args_add(&batch->args, leases->owner);
	if (is_dated || batch->op == LEASE_OP_LET_GO)
		redis_args_add(&batch->args, leases->host);
	if (is_dated)
		redis_args_add_number(&batch->args, leases->lease_ms);
	if (batch->op == LEASE_OP_CLAIM) {
		redis_args_add_number(&batch->args, leases->max_attempts);
		redis_args_add(&batch->args, leases->topics_text);
	}
	if (batch->op == LEASE_OP_RELEASE || batch->op == LEASE_OP_ABANDON)
		redis_args_add_number(&batch->args, batch->op == LEASE_OP_RELEASE); /* attempts that do not count */
}

static struct lease_batch *batch_new(struct leases *leases, enum lease_op op)
{
	struct lease_batch *batch = malloc(sizeof(*batch)); /* the waiters need no zeroes */

	assert(batch); /* see request_new() in bus/redis.c */
	batch->leases = leases;
	batch->op = op;
	batch->args = batch->args_again = (struct redis_args){ 0 };
	batch->n = 0;
	add_common_args(batch);
	return batch;
}

/* Nobody may act on a grant that came out of a bad answer: all of the batch are UNKNOWN then. */
static void read_grants(const struct lease_batch *batch, const struct redisReply *reply, struct lease_grant *grants)
{
	struct err err = { 0 };
	int r = -1;

	if (reply && batch->op == LEASE_OP_CLAIM)
		r = lease_reply_claims(reply, batch->n, batch->leases->topics, batch->leases->n_topics, grants, &err);
	else if (reply)
		r = lease_reply_verdicts(reply, batch->n, grants, &err);
	if (reply && r < 0)
		log_error("lease.answer", "function=%s leases=%zu error=\"%s\"", functions[batch->op], batch->n, err.msg);
	for (size_t i = 0; i < batch->n; i++) {
		if (r < 0)
			grants[i] = (struct lease_grant){ .verdict = LEASE_VERDICT_UNKNOWN };
		if (batch->op == LEASE_OP_RENEW)
			grants[i].token = batch->waiters[i].token;
		grants[i].deadline_mono_ms = batch->sent_mono_ms + batch->leases->lease_ms;
	}
}

/* Its waiters have been answered. */
static void send_again_later(struct leases *leases, struct lease_batch *batch)
{
	if (batch->op == LEASE_OP_CLAIM)
		batch->op = LEASE_OP_UNDO;
	batch->n = 0;
	batch->args = batch->args_again;
	batch->args_again = (struct redis_args){ 0 };
	TAILQ_INSERT_TAIL(&leases->lost, batch, entry);
	leases->n_lost++;
}

static void on_answer(void *ctx, const struct redisReply *reply)
{
	struct lease_batch *batch = ctx;
	struct leases *leases = batch->leases;
	struct lease_grant grants[LEASE_BATCH_MAX];

	if (batch->n) /* else nobody waits for it any more */
		read_grants(batch, reply, grants);
	for (size_t i = 0; i < batch->n; i++) {
		tally_drop(&leases->waiting, batch->waiters[i].ctx);
		if (batch->waiters[i].fn) /* looked up here: an answer may make the owner forget a later one */
			batch->waiters[i].fn(batch->waiters[i].ctx, &grants[i]);
	}
	TAILQ_REMOVE(&leases->in_flight, batch, entry);
	if (!reply && batch->args_again.n && leases->n_lost < LEASE_LOST_MAX)
		send_again_later(leases, batch);
	else
		batch_free(batch);
}

static void batch_send(struct leases *leases, struct lease_batch *batch)
{
	bool is_repeated = batch->op == LEASE_OP_RENEW || batch->op == LEASE_OP_HOLD; /* by whoever holds it */

	TAILQ_INSERT_TAIL(&leases->in_flight, batch, entry);
	if (!is_repeated && redis_is_connected(leases->redis)) /* else it cannot have been done */
		batch->args_again = redis_args_copy(&batch->args);
	batch->sent_mono_ms = clock_mono_ms();
	lease_library_call(leases->redis, &leases->keys, functions[batch->op], &batch->args, on_answer, batch);
}

static void send_lost(struct leases *leases)
{
	struct lease_batch *batch;

	while ((batch = TAILQ_FIRST(&leases->lost))) {
		TAILQ_REMOVE(&leases->lost, batch, entry);
		leases->n_lost--;
		batch_send(leases, batch);
	}
}

static void on_send(void *ctx)
{
	struct leases *leases = ctx;

	for (int op = 0; op < LEASE_OP_COUNT; op++)
		if (leases->next[op])
			batch_send(leases, TAKE_PTR(leases->next[op]));
}

/* The batch that the next request of this kind goes into, with room for it. */
static struct lease_batch *collect(struct leases *leases, enum lease_op op, lease_fn fn, void *ctx, uint64_t token)
{
	struct lease_batch *batch = leases->next[op];

	if (batch && batch->n == LEASE_BATCH_MAX) {
		on_send(leases); /* all kinds: their order is a promise */
		batch = NULL;
	}
	if (!batch)
		batch = leases->next[op] = batch_new(leases, op);
	tally_add(&leases->waiting, ctx);
	batch->waiters[batch->n++] = (struct lease_waiter){ .fn = fn, .ctx = ctx, .token = token };
	timer_set_soon(leases->send_timer);
	return batch;
}

/* As a line has it. */
static void put_place(struct redis_args *args, const struct record_place *place)
{
	redis_args_put(args, place->topic);
	redis_args_put(args, " ");
	redis_args_put_number(args, (uint64_t)place->partition);
	redis_args_put(args, " ");
	redis_args_put_number(args, (uint64_t)place->offset);
}

static const char *or_none(const char *word)
{
	return word ? word : "-";
}

/* How its line will end, if it is granted: no victim, and no key that was destroyed. */
static void add_tail(struct redis_args *args, const struct lease_source *source, const struct lease_workspace *workspace)
{
	put_place(args, &source->place);
	redis_args_put(args, " - - ");
	redis_args_put(args, source->content);
	redis_args_put(args, " ");
	redis_args_put(args, or_none(workspace->vm_id));
	redis_args_put(args, " ");
	redis_args_put(args, or_none(workspace->tenant));
	redis_args_end(args);
}

void lease_claim(struct leases *leases, const char *id, const struct lease_source *source, const struct lease_workspace *workspace,
		 lease_fn fn, void *ctx)
{
	struct redis_args *args = &collect(leases, LEASE_OP_CLAIM, fn, ctx, 0)->args;

	redis_args_add(args, id);
	redis_args_add_number(args, workspace->slot);
	redis_args_add_number(args, workspace->ttl_ms);
	if (source->answered)
		put_place(args, source->answered);
	else
		redis_args_put(args, "-");
	redis_args_end(args);
	add_tail(args, source, workspace);
}

/* Answers its arguments so far. */
static struct redis_args *ask_about_mine(struct leases *leases, enum lease_op op, const char *id, uint64_t token,
					 lease_fn fn, void *ctx)
{
	struct redis_args *args = &collect(leases, op, fn, ctx, token)->args;

	redis_args_add(args, id);
	redis_args_add_number(args, token);
	return args;
}

void lease_renew(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	(void)ask_about_mine(leases, LEASE_OP_RENEW, id, token, fn, ctx);
}

void lease_finish(struct leases *leases, const char *id, uint64_t token, lease_fn fn, void *ctx)
{
	(void)ask_about_mine(leases, LEASE_OP_FINISH, id, token, fn, ctx);
}

static void give_back(struct leases *leases, enum lease_op op, const char *id, uint64_t token, bool is_key_destroyed,
		      lease_fn fn, void *ctx)
{
	redis_args_add(ask_about_mine(leases, op, id, token, fn, ctx), is_key_destroyed ? "destroyed" : "-");
}

void lease_release(struct leases *leases, const char *id, uint64_t token, bool is_key_destroyed, lease_fn fn, void *ctx)
{
	give_back(leases, LEASE_OP_RELEASE, id, token, is_key_destroyed, fn, ctx);
}

void lease_abandon(struct leases *leases, const char *id, uint64_t token, bool is_key_destroyed, lease_fn fn, void *ctx)
{
	give_back(leases, LEASE_OP_ABANDON, id, token, is_key_destroyed, fn, ctx);
}

void lease_hold(struct leases *leases, const char *vm_id, lease_fn fn, void *ctx)
{
	redis_args_add(&collect(leases, LEASE_OP_HOLD, fn, ctx, 0)->args, vm_id);
}

void lease_let_go(struct leases *leases, const char *vm_id)
{
	redis_args_add(&collect(leases, LEASE_OP_LET_GO, NULL, NULL, 0)->args, vm_id);
}

static void batch_forget(struct lease_batch *batch, const void *ctx)
{
	for (size_t i = 0; batch && i < batch->n; i++)
		if (batch->waiters[i].ctx == ctx)
			batch->waiters[i].fn = NULL;
}

void lease_forget(struct leases *leases, const void *ctx)
{
	struct lease_batch *batch;

	if (!tally_may_have(&leases->waiting, ctx))
		return;
	for (int op = 0; op < LEASE_OP_COUNT; op++)
		batch_forget(leases->next[op], ctx);
	TAILQ_FOREACH(batch, &leases->in_flight, entry)
	batch_forget(batch, ctx);
}

static void on_redis(void *ctx, bool is_connected, const char *why)
{
	struct leases *leases = ctx;

	if (is_connected) {
		leases->n_connections++;
		log_info("lease.redis", "message=\"connected\" lost_batches=%u", leases->n_lost);
		lease_library_load(leases->redis);
		send_lost(leases);
	} else {
		log_warn("lease.redis", "message=\"lost (%s); jobs go on until their leases end\"", why);
	}
}

/* With spaces between them, which no name of a topic has. NULL: out of memory. */
static char *join(const char *const *topics, size_t n)
{
	struct buf text = { 0 };
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = i ? buf_append(&text, " ", 1) : 0;
		if (r == 0)
			r = buf_append(&text, topics[i], strlen(topics[i]));
	}
	if (r == 0)
		r = buf_append(&text, "", 1);
	if (r < 0)
		buf_free(&text);
	return (char *)text.data;
}

DEFINE_FREEP(struct leases, leases_free)

int leases_new(struct event_base *base, const struct lease_config *config, struct leases **ret, struct err *err)
{
	struct redis_config redis = { .endpoint = config->redis_endpoint,
				      .host = config->redis_host,
				      .port = config->redis_port,
				      .answer_ms = config->lease_ms / 3 };
	cleanup_(leases_freep) struct leases *leases = calloc(1, sizeof(*leases));
	int r;

	if (!leases)
		return err_set(err, ERR_HOST, ENOMEM, "set up leases");
	TAILQ_INIT(&leases->in_flight);
	TAILQ_INIT(&leases->lost);
	leases->topics = config->topics;
	leases->n_topics = config->n_topics;
	leases->topics_text = join(config->topics, config->n_topics);
	leases->owner = strdup(config->owner);
	leases->host = strdup(config->host);
	if (!leases->owner || !leases->host || !leases->topics_text)
		return err_set(err, ERR_HOST, ENOMEM, "set up leases");
	leases->lease_ms = config->lease_ms;
	leases->max_attempts = config->max_attempts;
	r = lease_keys_name(config->prefix, &leases->keys, err);
	if (r >= 0)
		r = timer_new(base, on_send, leases, &leases->send_timer, err);
	if (r >= 0)
		r = redis_new(base, &redis, on_redis, leases, &leases->redis, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(leases);
	return 0;
}

bool leases_are_connected(const struct leases *leases)
{
	return redis_is_connected(leases->redis);
}

uint64_t leases_connections(const struct leases *leases)
{
	return leases->n_connections;
}

static void batches_free(struct lease_batches *batches)
{
	struct lease_batch *batch;

	while ((batch = TAILQ_FIRST(batches))) {
		TAILQ_REMOVE(batches, batch, entry);
		batch_free(batch);
	}
}

void leases_free(struct leases *leases)
{
	if (!leases)
		return;
	redis_free(leases->redis);
	timer_free(leases->send_timer);
	for (int op = 0; op < LEASE_OP_COUNT; op++)
		batch_free(leases->next[op]);
	batches_free(&leases->in_flight);
	batches_free(&leases->lost);
	free(leases->topics_text);
	free(leases->owner);
	free(leases->host);
	free(leases);
}
