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
#include "lane/client.h"
#include "loop/signals.h"
#include "loop/timer.h"
#include "reaper/due_leases.h"
#include "reaper/host_sweep.h"
#include "reaper/kafka_client.h"
#include "reaper/reap_batch.h"

#define TIDY_MS	      600000 /* of the ledgers; Kafka forgets a group without members after days */
#define TIDY_AGAIN_MS 60000  /* Kafka did not answer */

enum state { STATE_RESTING, STATE_SCANNING, STATE_REAPING, STATE_TIDYING, STATE_LISTING, STATE_LOOKING };

struct reaper {
	const struct reaper_settings *settings;
	const struct redis_endpoint *redis_endpoint;
	struct event_base *base;
	struct signals *signals;
	struct timer *scan_timer;
	struct lane_client *lane;
	struct kafka_client *kafka;
	int supervisor_fd;
	struct event *supervisor_event;
	struct reap *reap;
	struct reap_batch *batch;
	struct host_sweep *sweep;
	struct due_leases due;
	char owner[REAP_OWNER_MAX + 1];
	enum state state;
	bool is_usable;	 /* Redis is connected and was looked at */
	bool was_usable; /* at any time before */
	bool is_stopping;
	bool has_more; /* the last scan filled a batch */
	int status;
	uint64_t quiet_until_mono_ms;
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
	if (reaper->state == STATE_RESTING)
		stop_loop(reaper);
}

static void on_fault(void *ctx, const char *why)
{
	struct reaper *reaper = ctx;

	if (!reaper->is_stopping)
		log_error("reaper.fault", "message=\"%s; starting anew\"", why);
	reaper->status = 1;
	stop_loop(reaper);
}

/* Nobody waits for it: results are told without what it should have erased. */
static void on_replace_lane(void *ctx)
{
	struct reaper *reaper = ctx;

	(void)send(reaper->supervisor_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* we do not outlive it */
}

static void on_supervisor(evutil_socket_t fd, short what, void *ctx)
{
	struct reaper *reaper = ctx;
	size_t n_fds = 0;
	uint8_t byte;
	int lane_fd;

	(void)what;
	if (fd_receive(fd, &byte, 1, &lane_fd, 1, &n_fds, 0) != 1 || n_fds != 1)
		on_fault(reaper, "the supervisor is gone");
	else
		lane_client_attach(reaper->lane, lane_fd);
}

static void rest(struct reaper *reaper)
{
	reaper->state = STATE_RESTING;
	if (reaper->is_stopping)
		stop_loop(reaper);
	else
		timer_set_ms(reaper->scan_timer, reaper->has_more ? 0 : reaper->settings->scan_ms);
	reaper->has_more = false;
}

static bool may_go_on(const struct reaper *reaper)
{
	return !reaper->is_stopping && reaper->is_usable;
}

static void look(struct reaper *reaper)
{
	struct leftover_find finds[REAP_BATCH_MAX];
	size_t n = host_sweep_next(reaper->sweep, finds);

	reaper->state = STATE_LOOKING;
	if (n && may_go_on(reaper))
		reap_batch_leftovers(reaper->batch, finds, n);
	else
		rest(reaper);
}

static void on_listed(void *ctx)
{
	look(ctx);
}

static void sweep_or_rest(struct reaper *reaper)
{
	if (!host_sweep_is_due(reaper->sweep) || !may_go_on(reaper)) {
		rest(reaper);
		return;
	}
	reaper->state = STATE_LISTING;
	host_sweep_list(reaper->sweep);
}

static void on_batch_done(void *ctx)
{
	struct reaper *reaper = ctx;

	if (reaper->state == STATE_LOOKING)
		look(reaper);
	else
		sweep_or_rest(reaper);
}

static void on_judged(void *ctx, const char *vm_id, enum reap_hold hold)
{
	struct reaper *reaper = ctx;

	host_sweep_judge(reaper->sweep, vm_id, hold);
}

static void on_left(void *ctx, const char *vm_id, const char *id, const char *why)
{
	struct reaper *reaper = ctx;

	host_sweep_note_left(reaper->sweep, vm_id, id, why);
}

static void on_tidied(void *ctx, const struct kafka_reply *reply)
{
	struct reaper *reaper = ctx;

	if (reply->error[0])
		log_warn("reaper.tidy", "message=\"%s\"", reply->error);
	reaper->tidy_mono_ms = clock_mono_ms() + (reply->error[0] ? TIDY_AGAIN_MS : TIDY_MS);
	rest(reaper);
}

static void tidy(struct reaper *reaper)
{
	reaper->state = STATE_TIDYING;
	kafka_client_call(reaper->kafka, KAFKA_OP_TIDY, NULL, 0, on_tidied, reaper);
}

static void say_braked(const struct reaper *reaper, const struct reap_scan *scan)
{
	log_warn("reaper.brake",
		 "due=%llu of=%llu message=\"most leases look expired at once; looking again in %llu ms\"",
		 (unsigned long long)scan->n_due, (unsigned long long)scan->n_all,
		 (unsigned long long)reaper->settings->lease_ms);
}

static void on_scan(void *ctx, const struct reap_scan *scan)
{
	struct reaper *reaper = ctx;
	struct reap_lease leases[REAP_BATCH_MAX];
	size_t n;

	if (!scan || reaper->is_stopping) {
		rest(reaper);
		return;
	}
	if (due_leases_select(&reaper->due, scan, clock_mono_ms(), leases, &n) == DUE_VERDICT_BRAKED)
		say_braked(reaper, scan);
	reaper->has_more = n == REAP_BATCH_MAX;
	if (n) {
		reaper->state = STATE_REAPING;
		reap_batch_leases(reaper->batch, leases, n, scan->now_ms);
	} else if (clock_mono_ms() >= reaper->tidy_mono_ms) {
		tidy(reaper); /* only when nothing is to be erased: Kafka may be away */
	} else {
		sweep_or_rest(reaper);
	}
}

static void on_scan_timer(void *ctx)
{
	struct reaper *reaper = ctx;

	if (!reaper->is_usable || clock_mono_ms() < reaper->quiet_until_mono_ms) {
		rest(reaper);
		return;
	}
	reaper->state = STATE_SCANNING;
	reap_scan(reaper->reap, on_scan, reaper);
}

static void wait_quietly(struct reaper *reaper, const struct reap_server *server)
{
	uint64_t quiet_ms = due_leases_quiet_ms(&reaper->due, server->uptime_ms, reaper->was_usable);

	reaper->quiet_until_mono_ms = clock_mono_ms() + quiet_ms;
	log_info("reaper.redis", "uptime_ms=%llu quiet_ms=%llu", (unsigned long long)server->uptime_ms,
		 (unsigned long long)quiet_ms);
}

static void on_redis(void *ctx, const struct reap_server *server, const char *why)
{
	struct reaper *reaper = ctx;

	due_leases_reset(&reaper->due);
	host_sweep_trust_all(reaper->sweep);
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
	reaper->supervisor_fd = ends->supervisor_fd;
	reaper->supervisor_event =
		event_new(reaper->base, ends->supervisor_fd, EV_READ | EV_PERSIST, on_supervisor, reaper);
	if (!reaper->supervisor_event || event_add(reaper->supervisor_event, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "listen to the supervisor");
	reaper->lane = lane_client_new(reaper->base, "reap", on_replace_lane, reaper);
	if (!reaper->lane)
		return err_set(err, ERR_HOST, ENOMEM, "talk to the reaper's lane; is there locked memory (ulimit -l)?");
	lane_client_attach(reaper->lane, ends->lane_fd);
	return kafka_client_new(reaper->base, ends->kafka_fd, KAFKA_CLIENT_PATIENCE_MS, on_fault, reaper,
				&reaper->kafka, err);
}

static int open_reap(struct reaper *reaper, struct err *err)
{
	const struct reaper_settings *settings = reaper->settings;
	const struct reap_config config = { .redis_endpoint = reaper->redis_endpoint,
					    .prefix = settings->fleet.topic_prefix,
					    .owner = reaper->owner,
					    .host = settings->host,
					    .lease_ms = (unsigned)settings->lease_ms,
					    .grace_ms = (unsigned)settings->grace_ms,
					    .lost_after_ms = (unsigned)settings->lost_after_ms };

	return reap_new(reaper->base, &config, on_redis, reaper, &reaper->reap, err);
}

static int open_batch(struct reaper *reaper, struct err *err)
{
	const struct reaper_settings *settings = reaper->settings;
	const struct reap_batch_config config = { .reap = reaper->reap,
						  .lane = reaper->lane,
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

	return reap_batch_new(&config, &reaper->batch, err);
}

static int open_sweep(struct reaper *reaper, struct err *err)
{
	const struct host_sweep_config config = { .lane = reaper->lane,
						  .lease_ms = reaper->settings->lease_ms,
						  .grace_ms = reaper->settings->grace_ms,
						  .is_stopping = is_stopping,
						  .on_listed = on_listed,
						  .on_fault = on_fault,
						  .ctx = reaper };

	return host_sweep_new(&config, &reaper->sweep, err);
}

static int open_parts(struct reaper *reaper, const struct reaper_ends *ends, struct err *err)
{
	int r = open_helpers(reaper, ends, err);

	if (r == 0)
		r = open_reap(reaper, err);
	if (r == 0)
		r = open_batch(reaper, err);
	if (r == 0)
		r = open_sweep(reaper, err);
	if (r == 0)
		r = signals_new(reaper->base, on_stop, reaper, &reaper->signals, err);
	return r == 0 ? timer_new(reaper->base, on_scan_timer, reaper, &reaper->scan_timer, err) : r;
}

static int reaper_open(struct reaper *reaper, const struct reaper_ends *ends, struct err *err)
{
	const struct reaper_settings *settings = reaper->settings;
	char start[37];

	ident_uuid(start);
	(void)snprintf(reaper->owner, sizeof(reaper->owner), "reaper.%.64s.%s", settings->host, start); /* fits: 108 */
	reaper->due = (struct due_leases){ .host = settings->host,
					   .lease_ms = settings->lease_ms,
					   .grace_ms = settings->grace_ms };
	reaper->base = event_base_new();
	if (!reaper->base)
		return err_set(err, ERR_HOST, ENOMEM, "make the reaper's loop");
	return open_parts(reaper, ends, err);
}

static void reaper_close(struct reaper *reaper)
{
	timer_free(reaper->scan_timer);
	signals_free(reaper->signals);
	host_sweep_free(reaper->sweep);
	reap_batch_free(reaper->batch);
	reap_free(reaper->reap);
	kafka_client_free(reaper->kafka);
	lane_client_free(reaper->lane);
	if (reaper->supervisor_event)
		event_free(reaper->supervisor_event);
	close_fd(&reaper->supervisor_fd);
	if (reaper->base)
		event_base_free(reaper->base);
}

static void run(struct reaper *reaper)
{
	log_info("reaper.start", "owner=%s lease_ms=%llu grace_ms=%llu", reaper->owner,
		 (unsigned long long)reaper->settings->lease_ms, (unsigned long long)reaper->settings->grace_ms);
	rest(reaper);
	if (event_base_dispatch(reaper->base) < 0)
		reaper->status = 1;
	signals_ignore_stop();
	log_info("reaper.stop", "owner=%s", reaper->owner);
}

int reaper_main(const struct reaper_settings *settings, const struct redis_endpoint *redis, const struct reaper_ends *ends)
{
	static struct reaper reaper; /* some tens of kB of tables */
	struct err err;

	reaper.settings = settings;
	reaper.supervisor_fd = -1;
	reaper.redis_endpoint = redis;
	if (reaper_open(&reaper, ends, &err) < 0) {
		log_error("reaper.start", "message=\"%s\"", err.msg);
		reaper.status = 1;
	} else {
		run(&reaper);
	}
	reaper_close(&reaper);
	return reaper.status;
}
