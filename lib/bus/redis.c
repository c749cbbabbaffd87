#include "bus/redis.h"

#include <assert.h>
#include <fcntl.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/hex.h"
#include "bus/redis_endpoint.h"
#include "loop/timer.h"

#define REDIS_BACKOFF_MIN_MS	50
#define REDIS_BACKOFF_MAX_MS	2000		   /* a fleet that waits longer loses leases for nothing */
#define HEAD_WORDS		3		   /* EVALSHA, its script, the number of keys */

struct redis_request {
	TAILQ_ENTRY(redis_request) entry;
	struct redis *redis;
	struct redis_script *script; /* NULL for a plain command */
	unsigned n_keys;
	struct redis_args head; /* of a script */
	struct redis_args args;
	bool is_whole_script; /* sent as EVAL already */
	uint64_t deadline_ms;
	redis_fn fn;
	void *ctx;
};

TAILQ_HEAD(redis_requests, redis_request);

struct redis {
	struct event_base *base;
	const struct redis_endpoint *endpoint;
	struct redis_endpoint *own_endpoint; /* when nobody lent one */
	unsigned answer_ms, backoff_ms;
	redisAsyncContext *hiredis; /* NULL between a loss and the next attempt */
	bool is_open;      /* hiredis is connected */
	bool is_connected; /* and Redis has let us in */
	bool is_told;      /* that it is, and not yet that it is not */
	bool is_freeing;
	char refusal[160];      /* of the last attempt, "" */
	bool is_refusal_told;	/* since we were connected last */
	struct redis_requests in_flight; /* oldest first: all have the same time to be answered */
	struct redis_requests failed;	 /* to be answered NULL when the loop turns */
	struct timer *connect_timer;	 /* the next attempt, or the end of this one */
	struct timer *answer_timer, *failed_timer;
	void (*on_change)(void *ctx, bool is_connected, const char *why);
	void *ctx;
};

static void request_free(struct redis_request *request)
{
	redis_args_free(&request->head);
	redis_args_free(&request->args);
	free(request);
}

static void request_answer(struct redis_request *request, const redisReply *reply)
{
	if (!request->redis->is_freeing)
		request->fn(request->ctx, reply);
	request_free(request);
}

static void request_fail(struct redis_request *request)
{
	TAILQ_INSERT_TAIL(&request->redis->failed, request, entry);
	timer_set_soon(request->redis->failed_timer);
}

static void on_failed(void *ctx)
{
	struct redis *redis = ctx;
	struct redis_requests failed = TAILQ_HEAD_INITIALIZER(failed);
	struct redis_request *request;

	TAILQ_CONCAT(&failed, &redis->failed, entry); /* what an answer fails anew waits for the next turn */
	while ((request = TAILQ_FIRST(&failed))) {
		TAILQ_REMOVE(&failed, request, entry);
		request_answer(request, NULL);
	}
}

static void watch_oldest(struct redis *redis)
{
	struct redis_request *oldest = TAILQ_FIRST(&redis->in_flight);
	uint64_t now_ms = clock_mono_ms();

	if (!oldest)
		timer_stop(redis->answer_timer);
	else if (!timer_is_set(redis->answer_timer))
		timer_set_ms(redis->answer_timer, oldest->deadline_ms > now_ms ? oldest->deadline_ms - now_ms : 0);
}

static void request_send(struct redis_request *request);

static bool is_script_missing(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

static void on_reply(redisAsyncContext *hiredis, void *data, void *ctx)
{
	struct redis_request *request = ctx;
	struct redis *redis = request->redis;
	const redisReply *reply = data;

	(void)hiredis;
	TAILQ_REMOVE(&redis->in_flight, request, entry);
	if (reply)
		redis->backoff_ms = REDIS_BACKOFF_MIN_MS;
	if (reply && request->script && !request->is_whole_script && is_script_missing(reply)) {
		request->is_whole_script = true;
		request_send(request);
	} else {
		request_answer(request, reply);
	}
	watch_oldest(redis);
}

/* All words of a request, as hiredis wants them. */
struct words {
	const char **words;
	size_t *lens;
	size_t n;
};

static void words_free(struct words *words)
{
	free(words->words);
	free(words->lens);
}

static void words_add(struct words *words, const char *word, size_t len)
{
	words->words[words->n] = word;
	words->lens[words->n++] = len;
}

static void words_add_args(struct words *words, const struct redis_args *args)
{
	const char *at = (const char *)args->text.data;

	for (size_t i = 0; i < args->n; i++) {
		size_t len;

		memcpy(&len, args->lens.data + i * sizeof(len), sizeof(len));
		words_add(words, at, len);
		at += len;
	}
}

static int request_write(struct redis_request *request)
{
	size_t max = HEAD_WORDS + request->head.n + request->args.n;
	cleanup_(words_free) struct words words = { .words = calloc(max, sizeof(char *)), .lens = calloc(max, sizeof(size_t)) };
	char n_keys[16];

	if (!words.words || !words.lens || request->head.is_broken || request->args.is_broken)
		return -ENOMEM;
	if (request->script) {
		const char *body = request->is_whole_script ? request->script->body : request->script->sha;

		(void)snprintf(n_keys, sizeof(n_keys), "%u", request->n_keys); /* it fits */
		words_add(&words, request->is_whole_script ? "EVAL" : "EVALSHA", request->is_whole_script ? 4 : 7);
		words_add(&words, body, strlen(body));
		words_add(&words, n_keys, strlen(n_keys));
	}
	words_add_args(&words, &request->head);
	words_add_args(&words, &request->args);
	return redisAsyncCommandArgv(request->redis->hiredis, on_reply, request, (int)words.n, words.words, words.lens) == REDIS_OK ?
		       0 :
		       -EIO;
}

static void request_send(struct redis_request *request)
{
	struct redis *redis = request->redis;

	if (!redis->is_connected || request_write(request) < 0) {
		request_fail(request);
		return;
	}
	TAILQ_INSERT_TAIL(&redis->in_flight, request, entry);
	watch_oldest(redis);
}

static void request_new(struct redis *redis, struct redis_script *script, unsigned n_keys, struct redis_args *head, struct redis_args *args,
			redis_fn fn, void *ctx)
{
	struct redis_request *request = calloc(1, sizeof(*request));

	assert(request); /* a lost answer would break a promise; small, and Linux does not refuse small ones */
	request->redis = redis;
	request->script = script;
	request->n_keys = n_keys;
	request->head = *head;
	request->args = *args;
	request->deadline_ms = clock_mono_ms() + redis->answer_ms;
	request->fn = fn;
	request->ctx = ctx;
	*head = *args = (struct redis_args){ 0 };
	request_send(request);
}

static void script_digest(struct redis_script *script)
{
	unsigned char digest[SHA_DIGEST_LENGTH];

	(void)SHA1((const unsigned char *)script->body, strlen(script->body), digest); /* answers `digest` */
	hex_write(digest, sizeof(digest), script->sha);
	script->sha[HEX_CHARS(sizeof(digest))] = '\0';
}

void redis_eval(struct redis *redis, struct redis_script *script, unsigned n_keys, struct redis_args *head, struct redis_args *args,
		redis_fn fn, void *ctx)
{
	if (!script->sha[0])
		script_digest(script);
	request_new(redis, script, n_keys, head, args, fn, ctx);
}

void redis_command(struct redis *redis, struct redis_args *args, redis_fn fn, void *ctx)
{
	struct redis_args none = { 0 };

	request_new(redis, NULL, 0, &none, args, fn, ctx);
}

static void on_loaded(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply; /* a script that could not be loaded is sent as a whole when it is used */
}

void redis_load(struct redis *redis, struct redis_script *script)
{
	struct redis_args args = { 0 };

	redis_args_add(&args, "SCRIPT");
	redis_args_add(&args, "LOAD");
	redis_args_add(&args, script->body);
	redis_command(redis, &args, on_loaded, NULL);
}

static void connect_later(struct redis *redis)
{
	uint64_t wait_ms = redis->backoff_ms / 2 + clock_mono_ns() / 1000 % redis->backoff_ms; /* jitter: 0.5 to 1.5 */

	redis->hiredis = NULL;
	redis->is_open = redis->is_connected = false;
	if (redis->is_freeing)
		return;
	timer_set_ms(redis->connect_timer, wait_ms);
	redis->backoff_ms *= 2;
	if (redis->backoff_ms > REDIS_BACKOFF_MAX_MS)
		redis->backoff_ms = REDIS_BACKOFF_MAX_MS;
}

static void tell_change(struct redis *redis, bool is_connected, const char *why)
{
	if (redis->on_change && !redis->is_freeing)
		redis->on_change(redis->ctx, is_connected, why);
}

static void enter(struct redis *redis)
{
	redis->is_connected = redis->is_told = true;
	redis->is_refusal_told = false;
	timer_stop(redis->connect_timer);
	tell_change(redis, true, "");
}

static void on_greeted(redisAsyncContext *hiredis, void *data, void *ctx)
{
	struct redis *redis = ctx;
	const redisReply *reply = data;

	(void)hiredis;
	if (!reply)
		return; /* lost meanwhile: on_disconnect() */
	if (reply->type != REDIS_REPLY_ERROR) {
		enter(redis);
		return;
	}
	(void)snprintf(redis->refusal, sizeof(redis->refusal), "Redis at %.60s refuses us: %.60s", redis_endpoint_name(redis->endpoint),
		       reply->str);
	redisAsyncDisconnect(redis->hiredis);
}

static void on_connect(const redisAsyncContext *hiredis, int status)
{
	struct redis *redis = hiredis->data;

	if (status != REDIS_OK) { /* hiredis frees the context itself */
		connect_later(redis);
		return;
	}
	redis->is_open = true;
	redis->refusal[0] = '\0';
	if (!redis_endpoint_greet(redis->endpoint, redis->hiredis, on_greeted, redis))
		enter(redis);
}

/* A refusal is told once, however often it is tried again. */
static void on_disconnect(const redisAsyncContext *hiredis, int status)
{
	struct redis *redis = hiredis->data;
	bool was_told = redis->is_told, is_new = redis->refusal[0] && !redis->is_refusal_told;

	connect_later(redis);
	redis->is_told = false;
	redis->is_refusal_told |= is_new;
	if (is_new)
		tell_change(redis, false, redis->refusal);
	else if (was_told)
		tell_change(redis, false, status == REDIS_OK ? "dropped: no answer in time" : hiredis->errstr);
}

/* Free the context now; hiredis answers everything in flight with NULL. What the kernel has not sent yet is dropped,
 * so that it does not arrive after what the next connection sends. */
static void drop(struct redis *redis)
{
	static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	redisAsyncContext *hiredis = redis->hiredis;
	bool was_open = redis->is_open;

	if (!hiredis)
		return;
	(void)setsockopt(hiredis->c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* else it is only slower */
	redis->is_connected = false; /* answers of now may not send on it */
	redisAsyncFree(hiredis);     /* calls on_disconnect only for a context that was connected */
	if (!was_open)
		connect_later(redis);
}

static void on_answer_late(void *ctx)
{
	struct redis *redis = ctx;
	const struct redis_request *oldest = TAILQ_FIRST(&redis->in_flight);

	if (oldest && oldest->deadline_ms <= clock_mono_ms())
		drop(redis);
	else
		watch_oldest(redis);
}

static void connect_now(struct redis *redis)
{
	redisAsyncContext *hiredis = redis_endpoint_begin(redis->endpoint);

	if (!hiredis || hiredis->err || redisLibeventAttach(hiredis, redis->base) != REDIS_OK) {
		if (hiredis)
			redisAsyncFree(hiredis);
		connect_later(redis);
		return;
	}
	hiredis->data = redis;
	redis->hiredis = hiredis;
	(void)fcntl(hiredis->c.fd, F_SETFD, FD_CLOEXEC);	 /* cannot fail on an open descriptor */
	(void)redisAsyncSetConnectCallback(hiredis, on_connect); /* fails only when one is set already */
	(void)redisAsyncSetDisconnectCallback(hiredis, on_disconnect);
	timer_set_ms(redis->connect_timer, redis->answer_ms);
}

static void on_connect_timer(void *ctx)
{
	struct redis *redis = ctx;

	if (redis->hiredis)
		drop(redis);
	else
		connect_now(redis);
}

int redis_new(struct event_base *base, const struct redis_config *config,
	      void (*on_change)(void *ctx, bool is_connected, const char *why), void *ctx, struct redis **ret,
	      struct err *err)
{
	cleanup_(redis_freep) struct redis *redis = calloc(1, sizeof(*redis));
	int r;

	if (!redis)
		return err_set(err, ERR_HOST, ENOMEM, "connect to Redis");
	TAILQ_INIT(&redis->in_flight);
	TAILQ_INIT(&redis->failed);
	redis->endpoint = config->endpoint;
	if (!redis->endpoint) {
		struct redis_settings plain = { .port = config->port };

		(void)snprintf(plain.host, sizeof(plain.host), "%s", config->host);
		r = redis_endpoint_new(&plain, &redis->own_endpoint, err);
		if (r < 0)
			return r;
		redis->endpoint = redis->own_endpoint;
	}
	redis->base = base;
	redis->answer_ms = config->answer_ms;
	redis->backoff_ms = REDIS_BACKOFF_MIN_MS;
	redis->on_change = on_change;
	redis->ctx = ctx;
	r = timer_new(base, on_connect_timer, redis, &redis->connect_timer, err);
	if (r >= 0)
		r = timer_new(base, on_answer_late, redis, &redis->answer_timer, err);
	if (r >= 0)
		r = timer_new(base, on_failed, redis, &redis->failed_timer, err);
	if (r < 0)
		return r;
	timer_set_soon(redis->connect_timer);
	*ret = TAKE_PTR(redis);
	return 0;
}

bool redis_is_connected(const struct redis *redis)
{
	return redis->is_connected;
}

void redis_free(struct redis *redis)
{
	if (!redis)
		return;
	redis->is_freeing = true;
	if (redis->hiredis)
		drop(redis);
	if (redis->failed_timer)
		on_failed(redis);
	timer_free(redis->connect_timer);
	timer_free(redis->answer_timer);
	timer_free(redis->failed_timer);
	redis_endpoint_free(redis->own_endpoint);
	free(redis);
}
