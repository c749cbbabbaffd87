#include "reaper/reaper.h"

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
#include "reaper/helper_link.h"
#include "reaper/due_leases.h"
#include "reaper/leftovers.h"
#include "reaper/reap_batch.h"
#include "reaper/kafka_process.h"
#include "wire/lane.h"

#define SWEEP_EVERY_SCANS  5
#define SWEEP_PAUSE_MAX	  6 /* doublings of it, after sweeps over which the lane was lost */
#define SWEEP_PATIENCE_MS 10000
#define TIDY_MS		  600000 /* of the ledgers; Kafka forgets a group without members after days */
#define TIDY_AGAIN_MS	  60000	 /* Kafka did not answer */

struct reaper {
	const struct reaper_settings *settings;
	const struct redis_door *redis_door;
	struct event_base *base;
	struct signals *signals;
	struct timer *scan_timer;
	struct helper_link *lane, *kafka;
	int supervisor_fd;
	struct event *supervisor_event;
	struct reap *reap;
	struct reap_batch *batch;
	struct due_leases due_leases;
	struct leftovers leftovers;
	char owner[REAP_OWNER_MAX + 1];
	bool is_usable;	 /* Redis is connected and was looked at */
	bool was_usable; /* at any time before */
	bool is_busy;	 /* a scan, batch or sweep is on its way */
	bool is_stopping;
	bool has_more; /* the last due_leases filled a batch */
	int status;
	uint64_t quiet_until_mono_ms;
	uint64_t redis_ms, redis_mono_ms; /* Redis's clock at the last scan, and ours */
	unsigned scans_to_sweep;
	unsigned n_lost_sweeps; /* one after the other */
	size_t leftovers_cursor;
	struct lane_request sweep;
	struct kafka_request tidy;
	uint64_t tidy_mono_ms; /* when it is due */
};

static void stop_loop(struct reaper *reaper)
{
	(void)event_base_loopbreak(reaper->base); /* fails only without a base */
}

static bool is_stopping(void *ctx)
{
	const struct reaper *reaper = ctx;

	return reaper->is_stopping;
}

static void on_stop(void *ctx)
{
	struct reaper *reaper = ctx;

	reaper->is_stopping = true;
	if (!reaper->is_busy)
		stop_loop(reaper);
}

static void on_fault(void *ctx, const char *why)
{
	struct reaper *reaper = ctx;

	if (!reaper->is_stopping)
		log_error("reaper.helper", "message=\"a helper process failed (%s); starting anew\"", why);
	reaper->status = 1;
	stop_loop(reaper);
}

static void on_kafka_lost(void *ctx, const char *why)
{
	on_fault(ctx, why);
}

/* Nobody waits for it: results are told without what it should have erased. */
static void on_lane_lost(void *ctx, const char *why)
{
	struct reaper *reaper = ctx;

	log_error("reaper.lane", "message=\"lost (%s); another one is asked for\"", why);
	(void)send(reaper->supervisor_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* we do not outlive it */
}

static void on_supervisor(evutil_socket_t fd, short what, void *ctx)
{
	struct reaper *reaper = ctx;
	uint8_t byte;
	int lane_fd;

	(void)what;
	if (fd_receive(fd, &byte, &lane_fd) < 0)
		on_fault(reaper, "the supervisor is gone");
	else
		helper_link_attach(reaper->lane, lane_fd);
}

/* The end of a scan and of all that followed from it. */
static void rest(struct reaper *reaper)
{
	reaper->is_busy = false;
	if (reaper->is_stopping)
		stop_loop(reaper);
	else
		timer_set_ms(reaper->scan_timer, reaper->has_more ? 0 : reaper->settings->scan_ms);
	reaper->has_more = false;
}

static uint64_t redis_now(const struct reaper *reaper)
{
	return reaper->redis_ms + (clock_mono_ms() - reaper->redis_mono_ms);
}

/* Healing: list this host's workspaces through the lane, then ask Redis about them, a batch at a time. */

static void look_at_next(struct reaper *reaper)
{
	struct reap_find finds[REAP_BATCH_MAX];
	size_t n = leftovers_next(&reaper->leftovers, &reaper->leftovers_cursor, clock_mono_ms(), finds);

	if (n && !reaper->is_stopping && reaper->is_usable)
		reap_batch_leftovers(reaper->batch, finds, n, redis_now(reaper));
	else
		rest(reaper);
}

static void on_judged(void *ctx, const char *id, int64_t number)
{
	struct reaper *reaper = ctx;

	leftovers_judge(&reaper->leftovers, id, number, clock_mono_ms());
}

static void on_left(void *ctx, const char *id, const char *why)
{
	struct reaper *reaper = ctx;
	unsigned n_failures;
	uint64_t pause_ms = leftovers_failed(&reaper->leftovers, id, clock_mono_ms(), &n_failures);

	log_error("reaper.left", "id=%s tries=%u again_in_ms=%llu message=\"%s\"", id, n_failures, (unsigned long long)pause_ms,
		  why);
}

static void sweep_next(struct reaper *reaper);

static void look_at_leftovers(struct reaper *reaper)
{
	reaper->leftovers_cursor = 0;
	look_at_next(reaper);
}

static void on_sweep_lost(struct reaper *reaper)
{
	if (reaper->n_lost_sweeps < SWEEP_PAUSE_MAX)
		reaper->n_lost_sweeps++;
	reaper->scans_to_sweep = SWEEP_EVERY_SCANS << reaper->n_lost_sweeps;
	look_at_leftovers(reaper); /* what is known already */
}

static void on_swept(void *ctx, const void *data, size_t len)
{
	struct reaper *reaper = ctx;
	struct lane_reply reply;
	struct err err;

	if (!data) {
		on_sweep_lost(reaper);
		return;
	}
	if (lane_reply_check(data, len, 0, &reply, &err) < 0 || reply.seq != reaper->sweep.seq) {
		on_fault(reaper, "the lane answered something else than it was asked");
		return;
	}
	if (reply.rc < 0)
		log_error("reaper.sweep", "error=\"%s\"", reply.msg);
	if (reply.rc == 0 && reply.id[0] && !reaper->is_stopping) {
		leftovers_list_add(&reaper->leftovers, reply.id);
		reaper->sweep.cursor = reply.cursor;
		sweep_next(reaper);
		return;
	}
	if (reply.rc == 0)
		leftovers_list_end(&reaper->leftovers); /* else what was not listed may be there all the same */
	reaper->n_lost_sweeps = 0;
	look_at_leftovers(reaper);
}

static void sweep_next(struct reaper *reaper)
{
	reaper->sweep.magic = LANE_MAGIC;
	reaper->sweep.op = LANE_OP_SWEEP;
	reaper->sweep.seq++;
	helper_link_call(reaper->lane, &reaper->sweep, sizeof(reaper->sweep), SWEEP_PATIENCE_MS, on_swept, reaper);
}

static void start_sweep(struct reaper *reaper)
{
	reaper->scans_to_sweep = SWEEP_EVERY_SCANS;
	reaper->sweep.cursor = 0;
	leftovers_list_begin(&reaper->leftovers);
	sweep_next(reaper);
}

/* Scanning */

static void on_batch_done(void *ctx)
{
	struct reaper *reaper = ctx;

	if (reaper->leftovers_cursor) /* it was one of leftovers */
		look_at_next(reaper);
	else if (reaper->scans_to_sweep > 1)
		reaper->scans_to_sweep--, rest(reaper);
	else if (!reaper->is_stopping && reaper->is_usable)
		start_sweep(reaper);
	else
		rest(reaper); /* the sweep is due, and waits for Redis */
}

static void on_tidied(void *ctx, const void *data, size_t len)
{
	const struct kafka_reply *reply = data;
	struct reaper *reaper = ctx;
	bool is_reply = len == sizeof(*reply) && reply->op == KAFKA_OP_TIDY && memchr(reply->error, '\0', sizeof(reply->error));

	if (!is_reply) {
		on_fault(reaper, "the Kafka process answered something else than it was asked");
		return;
	}
	if (reply->error[0])
		log_warn("reaper.tidy", "message=\"%s\"", reply->error);
	reaper->tidy_mono_ms = clock_mono_ms() + (reply->error[0] ? TIDY_AGAIN_MS : TIDY_MS);
	rest(reaper);
}

static void start_tidying(struct reaper *reaper)
{
	reaper->tidy = (struct kafka_request){ .magic = KAFKA_PROCESS_MAGIC, .op = KAFKA_OP_TIDY };
	helper_link_call(reaper->kafka, &reaper->tidy, kafka_request_len(0), KAFKA_PROCESS_PATIENCE_MS, on_tidied, reaper);
}

static void on_scan(void *ctx, const struct reap_scan *scan)
{
	struct reaper *reaper = ctx;
	struct reap_lease leases[REAP_BATCH_MAX];
	enum due_verdict verdict;
	size_t n;

	if (!scan || reaper->is_stopping) {
		rest(reaper);
		return;
	}
	reaper->redis_ms = scan->now_ms;
	reaper->redis_mono_ms = clock_mono_ms();
	reaper->leftovers_cursor = 0;
	verdict = due_leases_select(&reaper->due_leases, scan, reaper->redis_mono_ms, leases, &n);
	reaper->has_more = n == REAP_BATCH_MAX;
	if (verdict == DUE_VERDICT_BRAKED)
		log_warn("reaper.brake",
			 "due=%llu of=%llu message=\"most leases look expired at once; looking again in %llu ms\"",
			 (unsigned long long)scan->n_due, (unsigned long long)scan->n_all,
			 (unsigned long long)reaper->settings->lease_ms);
	if (n)
		reap_batch_leases(reaper->batch, leases, n, scan->now_ms);
	else if (clock_mono_ms() >= reaper->tidy_mono_ms)
		start_tidying(reaper); /* only when nothing is to be erased: Kafka may be away */
	else
		on_batch_done(reaper);
}

static void on_scan_timer(void *ctx)
{
	struct reaper *reaper = ctx;

	if (!reaper->is_usable || clock_mono_ms() < reaper->quiet_until_mono_ms) {
		rest(reaper);
		return;
	}
	reaper->is_busy = true;
	reap_scan(reaper->reap, on_scan, reaper);
}

/* Redis */

static void wait_quietly(struct reaper *reaper, const struct reap_server *server)
{
	uint64_t settled_ms = reaper->settings->lease_ms + reaper->settings->grace_ms;
	uint64_t wait_ms = server->uptime_ms < settled_ms ? settled_ms - server->uptime_ms : 0;

	/* Workers may have been cut off as we were: they need time to renew. */
	if (reaper->was_usable && wait_ms < reaper->settings->lease_ms)
		wait_ms = reaper->settings->lease_ms;
	reaper->quiet_until_mono_ms = clock_mono_ms() + wait_ms;
	log_info("reaper.redis", "uptime_ms=%llu quiet_ms=%llu", (unsigned long long)server->uptime_ms,
		 (unsigned long long)wait_ms);
}

static void on_redis(void *ctx, const struct reap_server *server, const char *why)
{
	struct reaper *reaper = ctx;

	due_leases_reset(&reaper->due_leases);
	reaper->is_usable = server != NULL;
	if (!server) {
		log_warn("reaper.redis", "message=\"lost (%s); nothing is reaped until it is back\"", why);
		return;
	}
	if (server->is_evicting)
		log_error("reaper.redis",
			  "message=\"this Redis evicts keys, leases among them: set maxmemory-policy noeviction\"");
	wait_quietly(reaper, server);
	reaper->was_usable = true;
}

static int open_helpers(struct reaper *reaper, const struct reaper_ends *ends, struct err *err)
{
	int r;

	reaper->supervisor_fd = ends->supervisor_fd;
	reaper->supervisor_event =
		event_new(reaper->base, ends->supervisor_fd, EV_READ | EV_PERSIST, on_supervisor, reaper);
	if (!reaper->supervisor_event || event_add(reaper->supervisor_event, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "listen to the supervisor");
	r = helper_link_new(reaper->base, ends->lane_fd, sizeof(struct lane_reply), on_lane_lost, reaper, &reaper->lane, err);
	return r < 0 ? r :
		       helper_link_new(reaper->base, ends->kafka_fd, sizeof(struct kafka_reply), on_kafka_lost, reaper,
			       &reaper->kafka, err);
}

static int open_parts(struct reaper *reaper, struct err *err)
{
	const struct reaper_settings *settings = reaper->settings;
	const struct reap_config reap = { .redis_door = reaper->redis_door,
					  .prefix = settings->fleet.topic_prefix,
					  .owner = reaper->owner,
					  .host = settings->host,
					  .lease_ms = (unsigned)settings->lease_ms,
					  .grace_ms = (unsigned)settings->grace_ms,
					  .lost_after_ms = (unsigned)settings->lost_after_ms };
	struct reap_batch_config batch = { .lane = reaper->lane,
				      .kafka = reaper->kafka,
				      .host = settings->host,
				      .max_attempts = (unsigned)settings->max_attempts,
				      .lease_ms = (unsigned)settings->lease_ms,
				      .is_stopping = is_stopping,
				      .on_done = on_batch_done,
				      .on_judged = on_judged,
				      .on_left = on_left,
				      .on_fault = on_fault,
				      .ctx = reaper };
	int r = reap_new(reaper->base, &reap, on_redis, reaper, &reaper->reap, err);

	batch.reap = reaper->reap;
	if (r == 0)
		r = reap_batch_new(&batch, &reaper->batch, err);
	if (r == 0)
		r = signals_new(reaper->base, on_stop, reaper, &reaper->signals, err);
	return r == 0 ? timer_new(reaper->base, on_scan_timer, reaper, &reaper->scan_timer, err) : r;
}

static int reaper_open(struct reaper *reaper, const struct reaper_ends *ends, struct err *err)
{
	const struct reaper_settings *settings = reaper->settings;
	char start[37];
	int r;

	ident_uuid(start);
	(void)snprintf(reaper->owner, sizeof(reaper->owner), "reaper.%.64s.%s", settings->host, start); /* fits: 108 */
	reaper->due_leases.host = settings->host;
	reaper->due_leases.lease_ms = settings->lease_ms;
	reaper->due_leases.grace_ms = settings->grace_ms;
	reaper->leftovers.grace_ms = settings->grace_ms;
	reaper->scans_to_sweep = SWEEP_EVERY_SCANS;
	reaper->base = event_base_new();
	if (!reaper->base)
		return err_set(err, ERR_HOST, ENOMEM, "make the reaper's loop");
	r = open_helpers(reaper, ends, err);
	return r == 0 ? open_parts(reaper, err) : r;
}

static void reaper_close(struct reaper *reaper)
{
	timer_free(reaper->scan_timer);
	signals_free(reaper->signals);
	reap_batch_free(reaper->batch);
	reap_free(reaper->reap);
	helper_link_free(reaper->kafka);
	helper_link_free(reaper->lane);
	if (reaper->supervisor_event)
		event_free(reaper->supervisor_event);
	close_fd(&reaper->supervisor_fd);
	if (reaper->base)
		event_base_free(reaper->base);
}

int reaper_main(const struct reaper_settings *settings, const struct redis_door *redis, const struct reaper_ends *ends)
{
	static struct reaper reaper; /* a few hundred kB of tables */
	struct err err;

	reaper.settings = settings;
	reaper.supervisor_fd = -1;
	reaper.redis_door = redis;
	if (reaper_open(&reaper, ends, &err) < 0) {
		log_error("reaper.start", "message=\"%s\"", err.msg);
		reaper.status = 1;
	} else {
		log_info("reaper.start", "owner=%s lease_ms=%llu grace_ms=%llu", reaper.owner,
			 (unsigned long long)settings->lease_ms, (unsigned long long)settings->grace_ms);
		rest(&reaper);
		if (event_base_dispatch(reaper.base) < 0)
			reaper.status = 1;
		signals_ignore_stop();
		log_info("reaper.stop", "owner=%s", reaper.owner);
	}
	reaper_close(&reaper);
	return reaper.status;
}
