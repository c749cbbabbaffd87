#include "bus/reap.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/lease_library.h"
#include "bus/reap_reply.h"
#include "bus/redis.h"

static const char *const verb_names[] = { NULL, "delete", "orphan", "ended", "told" };
static_assert(ARRAY_SIZE(verb_names) == REAP_VERB_COUNT, "a name for every reap_verb");

struct reap {
	struct redis *redis;
	struct lease_keys keys;
	char *owner, *host;
	unsigned lease_ms, grace_ms, lost_after_ms;
	void (*on_change)(void *ctx, const struct reap_server *server, const char *why);
	void *change_ctx;
	/* the request in flight */
	bool is_busy;
	size_t n;
	reap_scan_fn scan_fn;
	reap_numbers_fn numbers_fn;
	reap_find_fn find_fn;
	void *ctx;
	struct reap_lease leases[REAP_SCAN_MAX]; /* of the last answer */
	int64_t numbers[REAP_BATCH_MAX];
	struct reap_found found[REAP_BATCH_MAX];
	char cursor[REAP_CURSOR_MAX + 1]; /* where the tidying of this host's VM table goes on */
};

static void begin(struct reap *reap, size_t n, void *ctx)
{
	assert(!reap->is_busy && n <= REAP_BATCH_MAX);
	reap->is_busy = true;
	reap->n = n;
	reap->ctx = ctx;
}

static void on_scan(void *ctx, const struct redisReply *reply)
{
	struct reap *reap = ctx;
	struct reap_scan scan;
	struct err err;
	size_t n_bad = 0;
	int r = reply ? reap_reply_scan(reply, &scan, reap->leases, &n_bad, &err) : -ETIMEDOUT;

	reap->is_busy = false;
	if (reply && r < 0)
		log_error("reap.scan", "error=\"%s\"", err.msg);
	if (n_bad)
		log_error("reap.scan", "bad=%zu error=\"leases in Redis that are none of ours: look at members of %s\"",
			  n_bad, reap->keys.deadlines);
	reap->scan_fn(reap->ctx, r < 0 ? NULL : &scan);
}

void reap_scan(struct reap *reap, reap_scan_fn fn, void *ctx)
{
	struct redis_args args = { 0 };

	begin(reap, 0, ctx);
	reap->scan_fn = fn;
	redis_args_add_number(&args, reap->grace_ms);
	redis_args_add_number(&args, REAP_SCAN_MAX);
	lease_library_call(reap->redis, &reap->keys, "scan", &args, on_scan, reap);
}

static void on_numbers(void *ctx, const struct redisReply *reply)
{
	struct reap *reap = ctx;
	struct err err;
	int r = reply ? reap_reply_numbers(reply, reap->n, reap->numbers, &err) : -ETIMEDOUT;

	reap->is_busy = false;
	if (reply && r < 0)
		log_error("reap.answer", "error=\"%s\"", err.msg);
	reap->numbers_fn(reap->ctx, r < 0 ? NULL : reap->numbers);
}

void reap_take(struct reap *reap, const struct reap_lease *leases, size_t n, reap_numbers_fn fn, void *ctx)
{
	struct redis_args args = { 0 };

	begin(reap, n, ctx);
	reap->numbers_fn = fn;
	redis_args_add(&args, reap->owner);
	redis_args_add_number(&args, reap->lease_ms);
	redis_args_add_number(&args, reap->grace_ms);
	for (size_t i = 0; i < n; i++) {
		redis_args_add(&args, leases[i].id);
		redis_args_add_number(&args, leases[i].token);
		redis_args_add_number(&args, leases[i].expires_ms);
	}
	lease_library_call(reap->redis, &reap->keys, "take", &args, on_numbers, reap);
}

void reap_settle(struct reap *reap, const struct reap_settlement *settlements, size_t n, reap_numbers_fn fn, void *ctx)
{
	struct redis_args args = { 0 };

	begin(reap, n, ctx);
	reap->numbers_fn = fn;
	redis_args_add(&args, reap->owner);
	redis_args_add_number(&args, reap->lease_ms);
	redis_args_add_number(&args, reap->lost_after_ms);
	for (size_t i = 0; i < n; i++) {
		assert(settlements[i].verb != REAP_VERB_NONE);
		redis_args_add(&args, settlements[i].id);
		redis_args_add_number(&args, settlements[i].token);
		redis_args_add(&args, verb_names[settlements[i].verb]);
		redis_args_add(&args, settlements[i].is_key_destroyed ? "destroyed" : "-");
	}
	lease_library_call(reap->redis, &reap->keys, "settle", &args, on_numbers, reap);
}

static void on_find(void *ctx, const struct redisReply *reply)
{
	struct reap *reap = ctx;
	struct err err;
	int r = reply ? reap_reply_find(reply, reap->n, reap->cursor, reap->found, &err) : -ETIMEDOUT;

	reap->is_busy = false;
	if (reply && r < 0)
		log_error("reap.find", "error=\"%s\"", err.msg);
	reap->find_fn(reap->ctx, r < 0 ? NULL : reap->found);
}

void reap_find(struct reap *reap, const char *const *vm_ids, size_t n, reap_find_fn fn, void *ctx)
{
	struct redis_args args = { 0 };

	begin(reap, n, ctx);
	reap->find_fn = fn;
	redis_args_add(&args, reap->host);
	redis_args_add_number(&args, reap->grace_ms);
	redis_args_add(&args, reap->cursor);
	for (size_t i = 0; i < n; i++)
		redis_args_add(&args, vm_ids[i]);
	lease_library_call(reap->redis, &reap->keys, "find", &args, on_find, reap);
}

void reap_note(struct reap *reap, const char *const *vm_ids, size_t n, reap_numbers_fn fn, void *ctx)
{
	struct redis_args args = { 0 };

	begin(reap, n, ctx);
	reap->numbers_fn = fn;
	redis_args_add(&args, reap->host);
	for (size_t i = 0; i < n; i++)
		redis_args_add(&args, vm_ids[i]);
	lease_library_call(reap->redis, &reap->keys, "note", &args, on_numbers, reap);
}

static void on_info(void *ctx, const struct redisReply *reply)
{
	struct reap *reap = ctx;
	struct reap_server server;
	struct err err;

	if (!reply)
		return; /* the loss was told */
	if (reap_reply_server(reply, &server, &err) < 0)
		log_error("reap.server", "error=\"%s\"", err.msg);
	else
		reap->on_change(reap->change_ctx, &server, "");
}

static void on_redis(void *ctx, bool is_connected, const char *why)
{
	struct reap *reap = ctx;
	struct redis_args args = { 0 };

	if (!is_connected) {
		reap->on_change(reap->change_ctx, NULL, why);
		return;
	}
	lease_library_load(reap->redis);
	redis_args_add(&args, "INFO");
	redis_command(reap->redis, &args, on_info, reap);
}

DEFINE_FREEP(struct reap, reap_free)

int reap_new(struct event_base *base, const struct reap_config *config,
	     void (*on_change)(void *ctx, const struct reap_server *server, const char *why), void *ctx,
	     struct reap **ret, struct err *err)
{
	struct redis_config redis = { .endpoint = config->redis_endpoint,
				      .host = config->redis_host,
				      .port = config->redis_port,
				      .answer_ms = config->lease_ms / 3 };
	cleanup_(reap_freep) struct reap *reap = calloc(1, sizeof(*reap));
	int r;

	if (!reap)
		return err_set(err, ERR_HOST, ENOMEM, "set up reaping");
	reap->owner = strdup(config->owner);
	reap->host = strdup(config->host);
	if (!reap->owner || !reap->host)
		return err_set(err, ERR_HOST, ENOMEM, "set up reaping");
	assert(strlen(config->owner) <= REAP_OWNER_MAX && strlen(config->host) <= IDENT_ID_MAX);
	reap->lease_ms = config->lease_ms;
	reap->grace_ms = config->grace_ms;
	reap->lost_after_ms = config->lost_after_ms;
	reap->on_change = on_change;
	reap->change_ctx = ctx;
	memcpy(reap->cursor, "0", 2);
	r = lease_keys_name(config->prefix, &reap->keys, err);
	if (r >= 0)
		r = redis_new(base, &redis, on_redis, reap, &reap->redis, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(reap);
	return 0;
}

void reap_free(struct reap *reap)
{
	if (!reap)
		return;
	redis_free(reap->redis);
	free(reap->owner);
	free(reap->host);
	free(reap);
}
