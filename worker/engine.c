#include "worker/engine.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/access.h"
#include "bus/committed.h"
#include "bus/consumer.h"
#include "bus/control.h"
#include "bus/lease.h"
#include "bus/streamer.h"
#include "bus/topics.h"
#include "host/confine.h"
#include "host/disk/disk.h"
#include "loop/signals.h"
#include "loop/turns.h"
#include "worker/ahead.h"
#include "worker/credentials.h"
#include "worker/answered.h"
#include "worker/engine_lanes.h"
#include "worker/fitness.h"
#include "worker/intake.h"
#include "worker/memory_watch.h"
#include "worker/outbox.h"
#include "worker/partitions.h"
#include "worker/queue.h"
#include "worker/workspace/backends.h"
#include "worker/workspace/exec.h"

#define TICK_MS 100                 /* the grain of every deadline kept by the engine */
#define BROKER_PATIENCE_MS 60000    /* for the brokers to answer when the worker starts */
#define SESSION_TIMEOUT_MS 10000    /* Kafka group session: a dead worker's partitions move after this */
#define TRANSACTION_TIMEOUT_MS 10000 /* a dead worker's open transaction blocks readers at most this long */
#define FAREWELL_MS 15000 /* of a drain whose time is over: to destroy keys, and for the brokers to answer */

struct engine {
	const struct settings *settings;
	struct event_base *base;
	struct turns *turns;
	struct topics topics;
	char owner[2 * IDENT_ID_MAX]; /* of leases, and the transactional id: <worker>.<uuid of this start> */
	struct redis_endpoint *redis_endpoint;

	/* From engine_open() on. */
	struct job_services services; /* lends the parts to all jobs */
	struct partitions *partitions;
	struct queue *queue;
	struct intake *intake;
	struct memory_watch memory;
	struct host_place place;
	struct engine_lanes lanes;
	struct event *tick, *terminate;

	/* From join() on: NULL while it still has to prove its host. */
	struct consumer *consumer;
	struct control_reader *control;
	struct committed *committed;

	uint64_t drain_mono_ms; /* 0, or when draining must be over */
	unsigned n_lost_slots;
	bool is_cut_short; /* drained as far as possible, or must not go on: nothing is closed in order */
	int exit_code;
};

/* --- its end --- */

/* It cannot go on: say why, kill what runs (closing the lifelines does) and leave with status 1. */
static void die(void *ctx, const char *why)
{
	struct engine *engine = ctx;

	log_error("engine.die", "message=\"%s\"", why);
	engine->exit_code = 1;
	engine->is_cut_short = true;
	event_base_loopbreak(engine->base);
}

static bool has_joined(const struct engine *engine)
{
	return engine->services.outbox;
}

static void drain(struct engine *engine)
{
	struct queue_count count = queue_count(engine->queue);

	if (engine->drain_mono_ms)
		return;
	if (!has_joined(engine)) {
		event_base_loopbreak(engine->base);
		return;
	}
	log_info("engine.drain", "active=%zu held=%zu drain_ms=%llu", count.running, count.held + count.waiting,
		 (unsigned long long)engine->settings->drain_ms);
	engine->drain_mono_ms = clock_mono_ms() + engine->settings->drain_ms + 1;
	intake_close(engine->intake);
	consumer_pause_all(engine->consumer);
	queue_drop_held(engine->queue, "the worker drains");
	ahead_drain(&engine->services);
}

static void tick_drain(struct engine *engine, uint64_t now)
{
	struct queue_count count = queue_count(engine->queue);

	if (!engine->drain_mono_ms)
		return;
	if (now >= engine->drain_mono_ms)
		queue_drop_all(engine->queue, "the worker drains and cannot wait for it");
	if (count.running + count.held + count.waiting == 0 && ahead_is_idle(&engine->services) &&
	    outbox_is_idle(engine->services.outbox)) {
		event_base_loopbreak(engine->base);
	} else if (now >= engine->drain_mono_ms + FAREWELL_MS) {
		log_warn("engine.leave", "active=%zu untold_bytes=%zu message=\"Kafka or a lane does not answer; what is left "
			 "here is for the reaper, and its records are delivered again\"", count.running,
			 outbox_backlog(engine->services.outbox));
		engine->is_cut_short = true;
		event_base_loopbreak(engine->base);
	}
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	drain(arg);
}

static void on_unfit(void *ctx, const char *why)
{
	struct engine *engine = ctx;

	if (engine->drain_mono_ms)
		return;
	log_error("engine.host", "message=\"%s; this host is not fit: it takes no more tasks\"", why);
	engine->exit_code = ENGINE_EXIT_UNFIT;
	drain(engine);
}

static void on_slot_lost(void *ctx)
{
	struct engine *engine = ctx;

	if (++engine->n_lost_slots == engine->settings->slots)
		on_unfit(engine, "no microVM of any slot could be ended");
}

static void on_fenced(void *ctx, const char *why)
{
	log_error("engine.fenced", "message=\"%s\"", why);
	die(ctx, "this worker was declared dead by the reaper; nothing more may be told");
}

/* --- what the parts say to each other --- */

static void on_works(void *ctx)
{
	struct engine *engine = ctx;

	fitness_works(engine->services.fitness);
}

static void on_told(void *ctx, const struct job *job)
{
	struct engine *engine = ctx;

	intake_job_is_told(engine->intake, job);
}

static void on_over(void *ctx, struct job *job)
{
	struct engine *engine = ctx;

	queue_job_is_over(engine->queue, job);
}

static bool is_ours(void *ctx, const struct job *job)
{
	const struct engine *engine = ctx;

	return !engine->drain_mono_ms && intake_is_ours(engine->intake, job);
}

static void on_room(void *ctx)
{
	struct engine *engine = ctx;

	queue_ask_admission(engine->queue);
}

static void on_full(void *ctx, bool is_full)
{
	struct engine *engine = ctx;

	if (is_full)
		consumer_pause_all(engine->consumer);
	else if (!engine->drain_mono_ms)
		consumer_resume_all(engine->consumer);
}

static void on_plan(void *ctx)
{
	struct engine *engine = ctx;

	intake_plan(engine->intake);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct engine *engine = arg;
	uint64_t now = clock_mono_ms();

	(void)fd, (void)what;
	memory_watch_tick(&engine->memory, now);
	queue_tick(engine->queue, now);
	if (has_joined(engine))
		ahead_tick(&engine->services, now);
	if (has_joined(engine))
		intake_tick(engine->intake);
	tick_drain(engine, now);
}

/* --- its beginning --- */

static size_t held_max(const struct engine *engine)
{
	return engine->settings->slots < 4 ? 4 : engine->settings->slots;
}

static int open_kafka(struct engine *engine, struct err *err)
{
	const struct settings *settings = engine->settings;
	struct job_services *services = &engine->services;
	const struct consumer_config consumer = { .brokers = settings->fleet.brokers,
						  .group = settings->fleet.group,
						  .instance_id = settings->worker,
						  .topics = engine->topics.sources,
						  .n_topics = TOPICS_SOURCES,
						  .committed = engine->committed,
						  .session_timeout_ms = SESSION_TIMEOUT_MS,
						  .per_turn = (unsigned)held_max(engine) };
	const struct outbox_config outbox = { .publisher = { .brokers = settings->fleet.brokers,
							     .transactional_id = engine->owner,
							     .group = settings->fleet.group,
							     .transaction_timeout_ms = TRANSACTION_TIMEOUT_MS },
					      .on_plan = on_plan };
	int r = streamer_new(engine->base, settings->fleet.brokers, exec_on_delivered, NULL, &services->streamer, err);

	if (r == 0)
		r = control_reader_new(engine->base, settings->fleet.brokers, engine->topics.control, intake_control, engine->intake,
				       &engine->control, err);
	if (r == 0)
		r = consumer_new(engine->base, &consumer, &intake_events, engine->intake, &engine->consumer, err);
	intake_set_consumer(engine->intake, engine->consumer);
	if (r == 0)
		r = outbox_new(engine->base, &outbox, engine->consumer, engine->partitions, on_fenced, engine, &services->outbox, err);
	queue_set_outbox(engine->queue, services->outbox);
	return r;
}

/* Join the fleet: from here on there are records. */
static int join(struct engine *engine, struct err *err)
{
	const struct settings *settings = engine->settings;
	struct job_services *services = &engine->services;
	const struct lease_config leases = { .redis_endpoint = engine->redis_endpoint,
					     .topics = engine->topics.sources,
					     .n_topics = TOPICS_SOURCES,
					     .prefix = settings->fleet.topic_prefix,
					     .owner = engine->owner,
					     .host = settings->host,
					     .lease_ms = (unsigned)settings->lease_ms,
					     .max_attempts = (unsigned)settings->max_attempts };
	struct answered_config answered = { .group = settings->fleet.group, .partitions = engine->partitions };
	int r = topics_ensure(settings->fleet.brokers, &engine->topics, (int)settings->partitions, BROKER_PATIENCE_MS, err);

	if (r == 0)
		r = credentials_check(settings, engine->redis_endpoint, &engine->topics, engine->owner, err);
	if (r == 0)
		r = leases_new(engine->base, &leases, &services->leases, err);
	if (r == 0)
		ahead_join(services);
	if (r == 0)
		r = committed_new(engine->base, settings->fleet.brokers, &engine->committed, err);
	answered.committed = engine->committed;
	if (r == 0)
		r = answered_new(engine->base, &answered, &services->answered, err);
	return r < 0 ? r : open_kafka(engine, err);
}

static void on_fit(void *ctx)
{
	struct engine *engine = ctx;
	struct err err;

	if (has_joined(engine))
		return;
	supervisor_tell_fit(engine->lanes.supervisor_fd);
	if (join(engine, &err) < 0)
		die(engine, err.msg);
}

static int open_events(struct engine *engine, struct err *err)
{
	const struct timeval tick = { .tv_usec = TICK_MS * 1000 };

	engine->tick = event_new(engine->base, -1, EV_PERSIST, on_tick, engine);
	engine->terminate = evsignal_new(engine->base, SIGTERM, on_terminate, engine);
	if (!engine->tick || !engine->terminate || event_add(engine->tick, &tick) < 0 || event_add(engine->terminate, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "the engine's events");
	return 0;
}

static int open_workspaces(struct engine *engine, const struct backend *backend, struct err *err)
{
	const struct settings *settings = engine->settings;
	const struct admission_limits limits = { .slots = (uint32_t)settings->slots,
						 .idle_slots = (uint32_t)(settings_vm_slots(settings) - settings->slots),
						 .memory_mib = settings->memory_mib,
						 .disk_mib = settings->disk_mib,
						 .overhead_mib = backend_overhead_mib(backend),
						 .cpus = settings->cpus,
						 .largest_disk_mib = DISK_LARGEST_MIB };
	const struct fitness_config fitness = { .base = engine->base,
						.disk_lane = engine->lanes.clients[ENGINE_LANE_DISK],
						.vmm_lane = engine->lanes.clients[ENGINE_LANE_VMM],
						.launcher = backend->starts[WORKSPACE_START_COLD].launcher,
						.boot_ms = settings->boot_ms,
						.on_fit = on_fit,
						.on_unfit = on_unfit,
						.ctx = engine };

	names_place(settings->host, settings->state_dir, &engine->place);
	engine->services.admission = admission_new(&limits);
	engine->services.fitness = fitness_new(&fitness);
	engine->services.workspaces = (struct workspace_host){ .base = engine->base,
							       .turns = engine->turns,
							       .disk_lane = engine->lanes.clients[ENGINE_LANE_DISK],
							       .vmm_lane = engine->lanes.clients[ENGINE_LANE_VMM],
							       .backend = backend,
							       .admission = engine->services.admission,
							       .place = &engine->place,
							       .boot_ms = settings->boot_ms,
							       .null_run_ms = settings->null_run_ms,
							       .on_works = on_works,
							       .on_slot_lost = on_slot_lost,
							       .ctx = engine };
	if (backend->control)
		memory_watch_start(&engine->memory, settings, engine->services.admission);
	if (!engine->services.admission || !engine->services.fitness)
		return err_set(err, ERR_HOST, ENOMEM, "the engine's workspaces");
	return ahead_open(&engine->services, settings, on_room, engine, err);
}

static int open_jobs(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	struct queue_config queue = { .base = engine->base,
				      .admission = engine->services.admission,
				      .pool = engine->services.pool,
				      .templates = engine->services.templates,
				      .held_max = held_max(engine),
				      .lease_ms = engine->settings->lease_ms,
				      .on_full = on_full,
				      .is_ours = is_ours,
				      .ctx = engine };
	struct intake_config intake = { .services = &engine->services, .on_fatal = die, .ctx = engine };

	engine->services.settings = engine->settings;
	engine->services.topics = &engine->topics;
	engine->services.accel = ends->accel;
	engine->services.turns = engine->turns;
	engine->services.on_told = on_told;
	engine->services.on_over = on_over;
	engine->services.ctx = engine;
	intake.partitions = engine->partitions = partitions_new();
	intake.queue = engine->queue = queue_new(&queue);
	engine->intake = engine->queue ? intake_new(&intake) : NULL;
	return engine->partitions && engine->intake ? 0 : err_set(err, ERR_HOST, ENOMEM, "the engine's queue");
}

static int engine_open(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	const struct backend *backend = backend_find(engine->settings->vmm); /* settings_load() knows the same names */
	int r;

	engine->lanes.ctx = engine;
	topics_name(engine->settings->fleet.topic_prefix, &engine->topics);
	engine->base = event_base_new();
	r = engine->base ? backend_try_room(backend, (size_t)settings_vm_slots(engine->settings), err) : err_set(err, ERR_HOST, ENOMEM, "the engine");
	if (r == 0)
		r = turns_new(engine->base, &engine->turns, err);
	if (r == 0)
		r = engine_lanes_open(&engine->lanes, engine->base, ends->lane_fds, err);
	if (r == 0)
		r = open_workspaces(engine, backend, err);
	if (r == 0)
		r = open_jobs(engine, ends, err);
	if (r == 0)
		r = open_events(engine, err);
	if (r < 0)
		return r;
	if (ends->must_prove_host && backend->control) {
		fitness_prove(engine->services.fitness);
		return 0;
	}
	return join(engine, err);
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

/* The outbox first: it waits for the transaction in flight and uses the consumer's handle. */
static void engine_close(struct engine *engine)
{
	struct job_services *services = &engine->services;

	outbox_free(services->outbox);
	streamer_free(services->streamer);
	control_reader_free(engine->control);
	committed_free(engine->committed); /* nobody is answered any more */
	consumer_free(engine->consumer);
	leases_free(services->leases);
	fitness_free(services->fitness);
	answered_free(services->answered);
	redis_endpoint_free(engine->redis_endpoint);
	intake_free(engine->intake);
	queue_free(engine->queue);
	ahead_close(services);
	turns_free(engine->turns);
	engine_lanes_close(&engine->lanes);
	free_event(engine->tick);
	free_event(engine->terminate);
	admission_free(services->admission);
	partitions_free(engine->partitions);
	if (engine->base)
		event_base_free(engine->base);
}

static void run(struct engine *engine, const struct engine_ends *ends)
{
	const struct settings *settings = engine->settings;

	log_info("engine.start", "owner=%s vmm=%s accel=%s slots=%llu memory_mib=%llu disk_mib=%llu memory_floor_mib=%llu", engine->owner,
		 settings->vmm, ends->accel, (unsigned long long)settings->slots, (unsigned long long)settings->memory_mib,
		 (unsigned long long)settings->disk_mib, (unsigned long long)settings->memory_floor_mib);
	(void)event_base_dispatch(engine->base); /* its only failure is having no events */
}

int engine_main(const struct settings *settings, const struct engine_ends *ends)
{
	struct engine engine = { .settings = settings, .lanes = { .supervisor_fd = ends->supervisor_fd, .on_lost = die } };
	struct err err = { 0 };
	char start[37];

	ident_uuid(start);
	(void)snprintf(engine.owner, sizeof(engine.owner), "%.*s.%s", IDENT_ID_MAX, settings->worker, start);
	if (fleet_credentials_load(&settings->fleet, &engine.redis_endpoint, &err) < 0 ||
	    confine_process((uid_t)settings->engine_uid, settings->fleet.redis.socket, &err) < 0 || engine_open(&engine, ends, &err) < 0) {
		log_error("engine.start", "message=\"%s\"", err.msg);
		engine.exit_code = err.kind == ERR_INPUT ? ACCESS_EXIT_REFUSED : 1;
	} else {
		run(&engine, ends);
	}
	signals_ignore_stop();
	if (!engine.is_cut_short)
		engine_close(&engine);
	log_info("engine.stop", "owner=%s", engine.owner);
	if (engine.is_cut_short)
		_exit(engine.exit_code); /* the kernel takes everything back, and the guards see their lifelines close */
#ifdef MAYFLY_SANITIZE
	confine_allow_leak_check();
#endif
	return engine.exit_code;
}
