#include "reaper/engine.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/reap.h"
#include "loop/signals.h"
#include "loop/timer.h"
#include "reaper/ask.h"
#include "reaper/choice.h"
#include "reaper/healer.h"
#include "reaper/round.h"
#include "reaper/teller.h"
#include "wire/lane.h"

#define HEAL_EVERY_SCANS  5
#define HEAL_PAUSE_MAX	  6 /* doublings of it, after sweeps over which the lane was lost */
#define SWEEP_PATIENCE_MS 10000
#define TIDY_MS		  600000 /* of the ledgers; Kafka forgets a group without members after days */
#define TIDY_AGAIN_MS	  60000	 /* Kafka did not answer */

struct engine {
	const struct reaper_settings *settings;
	const struct redis_door *redis_door;
	struct event_base *base;
	struct signals *signals;
	struct timer *scan_timer;
	struct ask *lane, *teller;
	int supervisor_fd;
	struct event *supervisor_event;
	struct reap *reap;
	struct round *round;
	struct choice choice;
	struct healer healer;
	char owner[REAP_OWNER_MAX + 1];
	bool is_usable;	 /* Redis is connected and was looked at */
	bool was_usable; /* at any time before */
	bool is_busy;	 /* a scan, round or sweep is on its way */
	bool is_stopping;
	bool has_more; /* the last choice filled a round */
	int status;
	uint64_t quiet_until_mono_ms;
	uint64_t redis_ms, redis_mono_ms; /* Redis's clock at the last scan, and ours */
	unsigned scans_to_heal;
	unsigned n_lost_sweeps; /* one after the other */
	size_t heal_cursor;
	struct lane_request sweep;
	struct teller_request tidy;
	uint64_t tidy_mono_ms; /* when it is due */
};

static void stop_loop(struct engine *engine)
{
	(void)event_base_loopbreak(engine->base); /* fails only without a base */
}

static bool is_stopping(void *ctx)
{
	const struct engine *engine = ctx;

	return engine->is_stopping;
}

static void on_stop(void *ctx)
{
	struct engine *engine = ctx;

	engine->is_stopping = true;
	if (!engine->is_busy)
		stop_loop(engine);
}

static void on_fault(void *ctx, const char *why)
{
	struct engine *engine = ctx;

	if (!engine->is_stopping)
		log_error("reaper.helper", "message=\"a helper process failed (%s); starting anew\"", why);
	engine->status = 1;
	stop_loop(engine);
}

static void on_teller_lost(void *ctx, const char *why)
{
	on_fault(ctx, why);
}

/* Nobody waits for it: results are told without what it should have erased. */
static void on_lane_lost(void *ctx, const char *why)
{
	struct engine *engine = ctx;

	log_error("reaper.lane", "message=\"lost (%s); another one is asked for\"", why);
	(void)send(engine->supervisor_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* we do not outlive it */
}

static void on_supervisor(evutil_socket_t fd, short what, void *ctx)
{
	struct engine *engine = ctx;
	uint8_t byte;
	int lane_fd;

	(void)what;
	if (fd_receive(fd, &byte, &lane_fd) < 0)
		on_fault(engine, "the supervisor is gone");
	else
		ask_attach(engine->lane, lane_fd);
}

/* The end of a scan and of all that followed from it. */
static void rest(struct engine *engine)
{
	engine->is_busy = false;
	if (engine->is_stopping)
		stop_loop(engine);
	else
		timer_set_ms(engine->scan_timer, engine->has_more ? 0 : engine->settings->scan_ms);
	engine->has_more = false;
}

static uint64_t redis_now(const struct engine *engine)
{
	return engine->redis_ms + (clock_mono_ms() - engine->redis_mono_ms);
}

/* Healing: list this host's workspaces through the lane, then ask Redis about them, a batch at a time. */

static void heal_next(struct engine *engine)
{
	struct reap_find finds[REAP_BATCH_MAX];
	size_t n = healer_next(&engine->healer, &engine->heal_cursor, clock_mono_ms(), finds);

	if (n && !engine->is_stopping && engine->is_usable)
		round_heal(engine->round, finds, n, redis_now(engine));
	else
		rest(engine);
}

static void on_judged(void *ctx, const char *id, int64_t number)
{
	struct engine *engine = ctx;

	healer_judge(&engine->healer, id, number, clock_mono_ms());
}

static void on_left(void *ctx, const char *id, const char *why)
{
	struct engine *engine = ctx;
	unsigned n_failures;
	uint64_t pause_ms = healer_failed(&engine->healer, id, clock_mono_ms(), &n_failures);

	log_error("reaper.left", "id=%s tries=%u again_in_ms=%llu message=\"%s\"", id, n_failures, (unsigned long long)pause_ms,
		  why);
}

static void sweep_next(struct engine *engine);

static void heal_first(struct engine *engine)
{
	engine->heal_cursor = 0;
	heal_next(engine);
}

static void on_sweep_lost(struct engine *engine)
{
	if (engine->n_lost_sweeps < HEAL_PAUSE_MAX)
		engine->n_lost_sweeps++;
	engine->scans_to_heal = HEAL_EVERY_SCANS << engine->n_lost_sweeps;
	heal_first(engine); /* what is known already */
}

static void on_swept(void *ctx, const void *data, size_t len)
{
	struct engine *engine = ctx;
	struct lane_reply reply;
	struct err err;

	if (!data) {
		on_sweep_lost(engine);
		return;
	}
	if (lane_reply_check(data, len, 0, &reply, &err) < 0 || reply.seq != engine->sweep.seq) {
		on_fault(engine, "the lane answered something else than it was asked");
		return;
	}
	if (reply.rc < 0)
		log_error("reaper.sweep", "error=\"%s\"", reply.msg);
	if (reply.rc == 0 && reply.id[0] && !engine->is_stopping) {
		healer_list_add(&engine->healer, reply.id);
		engine->sweep.cursor = reply.cursor;
		sweep_next(engine);
		return;
	}
	if (reply.rc == 0)
		healer_list_end(&engine->healer); /* else what was not listed may be there all the same */
	engine->n_lost_sweeps = 0;
	heal_first(engine);
}

static void sweep_next(struct engine *engine)
{
	engine->sweep.magic = LANE_MAGIC;
	engine->sweep.op = LANE_OP_SWEEP;
	engine->sweep.seq++;
	ask_send(engine->lane, &engine->sweep, sizeof(engine->sweep), SWEEP_PATIENCE_MS, on_swept, engine);
}

static void start_healing(struct engine *engine)
{
	engine->scans_to_heal = HEAL_EVERY_SCANS;
	engine->sweep.cursor = 0;
	healer_list_begin(&engine->healer);
	sweep_next(engine);
}

/* Scanning */

static void on_round_done(void *ctx)
{
	struct engine *engine = ctx;

	if (engine->heal_cursor) /* it was one of healing */
		heal_next(engine);
	else if (engine->scans_to_heal > 1)
		engine->scans_to_heal--, rest(engine);
	else if (!engine->is_stopping && engine->is_usable)
		start_healing(engine);
	else
		rest(engine); /* healing is due, and waits for Redis */
}

static void on_tidied(void *ctx, const void *data, size_t len)
{
	const struct teller_reply *reply = data;
	struct engine *engine = ctx;
	bool is_reply = len == sizeof(*reply) && reply->op == TELLER_OP_TIDY && memchr(reply->error, '\0', sizeof(reply->error));

	if (!is_reply) {
		on_fault(engine, "the teller answered something else than it was asked");
		return;
	}
	if (reply->error[0])
		log_warn("reaper.tidy", "message=\"%s\"", reply->error);
	engine->tidy_mono_ms = clock_mono_ms() + (reply->error[0] ? TIDY_AGAIN_MS : TIDY_MS);
	rest(engine);
}

static void start_tidying(struct engine *engine)
{
	engine->tidy = (struct teller_request){ .magic = TELLER_MAGIC, .op = TELLER_OP_TIDY };
	ask_send(engine->teller, &engine->tidy, teller_request_len(0), TELLER_PATIENCE_MS, on_tidied, engine);
}

static void on_scan(void *ctx, const struct reap_scan *scan)
{
	struct engine *engine = ctx;
	struct reap_lease leases[REAP_BATCH_MAX];
	enum choice_verdict verdict;
	size_t n;

	if (!scan || engine->is_stopping) {
		rest(engine);
		return;
	}
	engine->redis_ms = scan->now_ms;
	engine->redis_mono_ms = clock_mono_ms();
	engine->heal_cursor = 0;
	verdict = choice_make(&engine->choice, scan, engine->redis_mono_ms, leases, &n);
	engine->has_more = n == REAP_BATCH_MAX;
	if (verdict == CHOICE_VERDICT_BRAKED)
		log_warn("reaper.brake",
			 "due=%llu of=%llu message=\"most leases look expired at once; looking again in %llu ms\"",
			 (unsigned long long)scan->n_due, (unsigned long long)scan->n_all,
			 (unsigned long long)engine->settings->lease_ms);
	if (n)
		round_reap(engine->round, leases, n, scan->now_ms);
	else if (clock_mono_ms() >= engine->tidy_mono_ms)
		start_tidying(engine); /* only when nothing is to be erased: Kafka may be away */
	else
		on_round_done(engine);
}

static void on_scan_timer(void *ctx)
{
	struct engine *engine = ctx;

	if (!engine->is_usable || clock_mono_ms() < engine->quiet_until_mono_ms) {
		rest(engine);
		return;
	}
	engine->is_busy = true;
	reap_scan(engine->reap, on_scan, engine);
}

/* Redis */

static void wait_quietly(struct engine *engine, const struct reap_server *server)
{
	uint64_t settled_ms = engine->settings->lease_ms + engine->settings->grace_ms;
	uint64_t wait_ms = server->uptime_ms < settled_ms ? settled_ms - server->uptime_ms : 0;

	/* Workers may have been cut off as we were: they need time to renew. */
	if (engine->was_usable && wait_ms < engine->settings->lease_ms)
		wait_ms = engine->settings->lease_ms;
	engine->quiet_until_mono_ms = clock_mono_ms() + wait_ms;
	log_info("reaper.redis", "uptime_ms=%llu quiet_ms=%llu", (unsigned long long)server->uptime_ms,
		 (unsigned long long)wait_ms);
}

static void on_redis(void *ctx, const struct reap_server *server, const char *why)
{
	struct engine *engine = ctx;

	choice_reset(&engine->choice);
	engine->is_usable = server != NULL;
	if (!server) {
		log_warn("reaper.redis", "message=\"lost (%s); nothing is reaped until it is back\"", why);
		return;
	}
	if (server->is_evicting)
		log_error("reaper.redis",
			  "message=\"this Redis evicts keys, leases among them: set maxmemory-policy noeviction\"");
	wait_quietly(engine, server);
	engine->was_usable = true;
}

static int open_helpers(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	int r;

	engine->supervisor_fd = ends->supervisor_fd;
	engine->supervisor_event =
		event_new(engine->base, ends->supervisor_fd, EV_READ | EV_PERSIST, on_supervisor, engine);
	if (!engine->supervisor_event || event_add(engine->supervisor_event, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "listen to the supervisor");
	r = ask_new(engine->base, ends->lane_fd, sizeof(struct lane_reply), on_lane_lost, engine, &engine->lane, err);
	return r < 0 ? r :
		       ask_new(engine->base, ends->teller_fd, sizeof(struct teller_reply), on_teller_lost, engine,
			       &engine->teller, err);
}

static int open_parts(struct engine *engine, struct err *err)
{
	const struct reaper_settings *settings = engine->settings;
	const struct reap_config reap = { .redis_door = engine->redis_door,
					  .redis_host = settings->redis_host,
					  .redis_port = (unsigned)settings->redis_port,
					  .prefix = settings->topic_prefix,
					  .owner = engine->owner,
					  .host = settings->host,
					  .lease_ms = (unsigned)settings->lease_ms,
					  .grace_ms = (unsigned)settings->grace_ms,
					  .lost_after_ms = (unsigned)settings->lost_after_ms };
	struct round_config round = { .lane = engine->lane,
				      .teller = engine->teller,
				      .host = settings->host,
				      .max_attempts = (unsigned)settings->max_attempts,
				      .lease_ms = (unsigned)settings->lease_ms,
				      .is_stopping = is_stopping,
				      .on_done = on_round_done,
				      .on_judged = on_judged,
				      .on_left = on_left,
				      .on_fault = on_fault,
				      .ctx = engine };
	int r = reap_new(engine->base, &reap, on_redis, engine, &engine->reap, err);

	round.reap = engine->reap;
	if (r == 0)
		r = round_new(&round, &engine->round, err);
	if (r == 0)
		r = signals_new(engine->base, on_stop, engine, &engine->signals, err);
	return r == 0 ? timer_new(engine->base, on_scan_timer, engine, &engine->scan_timer, err) : r;
}

static int engine_open(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	const struct reaper_settings *settings = engine->settings;
	char start[37];
	int r;

	ident_uuid(start);
	(void)snprintf(engine->owner, sizeof(engine->owner), "reaper.%.64s.%s", settings->host, start); /* fits: 108 */
	engine->choice.host = settings->host;
	engine->choice.lease_ms = settings->lease_ms;
	engine->choice.grace_ms = settings->grace_ms;
	engine->healer.grace_ms = settings->grace_ms;
	engine->scans_to_heal = HEAL_EVERY_SCANS;
	engine->base = event_base_new();
	if (!engine->base)
		return err_set(err, ERR_HOST, ENOMEM, "make the reaper's loop");
	r = open_helpers(engine, ends, err);
	return r == 0 ? open_parts(engine, err) : r;
}

static void engine_close(struct engine *engine)
{
	timer_free(engine->scan_timer);
	signals_free(engine->signals);
	round_free(engine->round);
	reap_free(engine->reap);
	ask_free(engine->teller);
	ask_free(engine->lane);
	if (engine->supervisor_event)
		event_free(engine->supervisor_event);
	close_fd(&engine->supervisor_fd);
	if (engine->base)
		event_base_free(engine->base);
}

int engine_main(const struct reaper_settings *settings, const struct redis_door *redis, const struct engine_ends *ends)
{
	static struct engine engine; /* a few hundred kB of tables */
	struct err err;

	engine.settings = settings;
	engine.supervisor_fd = -1;
	engine.redis_door = redis;
	if (engine_open(&engine, ends, &err) < 0) {
		log_error("reaper.start", "message=\"%s\"", err.msg);
		engine.status = 1;
	} else {
		log_info("reaper.start", "owner=%s lease_ms=%llu grace_ms=%llu", engine.owner,
			 (unsigned long long)settings->lease_ms, (unsigned long long)settings->grace_ms);
		rest(&engine);
		if (event_base_dispatch(engine.base) < 0)
			engine.status = 1;
		signals_ignore_stop();
		log_info("reaper.stop", "owner=%s", engine.owner);
	}
	engine_close(&engine);
	return engine.status;
}
