#include "worker/engine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/access.h"
#include "host/confine.h"
#include "host/disk/disk.h"
#include "lane/launcher.h"
#include "loop/signals.h"
#include "worker/credentials.h"
#include "worker/intake.h"
#include "worker/stages.h"
#include "worker/supervisor.h"

#define TICK_MS 100                 /* the grain of every deadline kept by the engine */
#define BROKER_PATIENCE_MS 60000    /* for the brokers to answer when the worker starts */
#define SESSION_TIMEOUT_MS 10000    /* Kafka group session: a dead worker's partitions move after this */
#define TRANSACTION_TIMEOUT_MS 10000 /* a dead worker's open transaction blocks readers at most this long */
#define FAREWELL_MS 15000 /* of a drain whose time is over: to destroy keys, and for the brokers to answer */
#define WAITING_MAX 1024  /* jobs that wait for others' leases beside what is held: as many as a dead worker of that many slots left */
#define BACKLOG_MAX_BYTES (64u << 20) /* of answers that are not committed yet */

void engine_die(struct engine *engine, const char *why)
{
	log_error("engine.die", "message=\"%s\"", why);
	engine->exit_code = 1;
	engine->is_cut_short = true;
	event_base_loopbreak(engine->base);
}

void engine_fill_origin(const struct engine *engine, const struct record_place *source, struct result *result)
{
	/* settings_load() checked that these are idents */
	(void)snprintf(result->host, sizeof(result->host), "%.*s", IDENT_ID_MAX, engine->settings->host);
	(void)snprintf(result->worker, sizeof(result->worker), "%.*s", IDENT_ID_MAX, engine->settings->worker);
	(void)snprintf(result->topic, sizeof(result->topic), "%s", source->topic);
	result->partition = source->partition;
	result->offset = source->offset;
}

void engine_stream_event(struct engine *engine, const struct job *job)
{
	struct result started;
	struct buf message = { 0 };
	struct err err;

	result_init(&started);
	started.event = RESULT_EVENT_STARTED;
	memcpy(started.id, job->task->id, sizeof(started.id));
	started.attempt = job->attempt;
	started.token = job->token;
	started.finished_ms = clock_wall_ms();
	started.labels = job->task->labels; /* lent for the encoding */
	started.n_labels = job->task->n_labels;
	engine_fill_origin(engine, &job->place, &started);
	if (result_encode(&started, &message) < 0 ||
	    streamer_send(engine->streamer, engine->topics.results, started.id, strlen(started.id), message.data,
			  message.len, NULL, &err) < 0)
		log_warn("engine.event", "id=%s message=\"its start could not be told\"", started.id);
	buf_free(&message);
}

static size_t held_max(const struct engine *engine)
{
	return engine->settings->slots < 4 ? 4 : engine->settings->slots;
}

/* Full means no new records, with room between the two marks. What waits for a lease takes no place of what could run. */
static void press_back(struct engine *engine)
{
	size_t backlog = outbox_backlog(engine->outbox);
	size_t n_held = engine->n_held - engine->n_waiting;
	bool is_full = n_held >= held_max(engine) || engine->n_waiting >= WAITING_MAX || backlog >= BACKLOG_MAX_BYTES;
	bool has_room = n_held <= held_max(engine) / 2 && engine->n_waiting <= WAITING_MAX / 2 && backlog <= BACKLOG_MAX_BYTES / 2;

	if (is_full && !engine->is_paused) {
		engine->is_paused = true;
		consumer_pause_all(engine->consumer);
	} else if (has_room && engine->is_paused && !engine->drain_mono_ms) {
		engine->is_paused = false;
		consumer_resume_all(engine->consumer);
	}
}

void engine_job_enters_held(struct engine *engine, struct job *job)
{
	if (job->is_listed) {
		TAILQ_REMOVE(&engine->active, job, link);
		engine->n_active--;
	}
	job->is_listed = true;
	TAILQ_INSERT_TAIL(&engine->held, job, link);
	engine->n_held++;
	engine->n_waiting += job->waits_for_lease;
	engine_ask_admission(engine);
}

void engine_job_leaves_held(struct engine *engine, struct job *job)
{
	TAILQ_REMOVE(&engine->held, job, link);
	TAILQ_INSERT_TAIL(&engine->active, job, link);
	engine->n_held--;
	engine->n_waiting -= job->waits_for_lease;
	engine->n_active++;
}

/* Before the result of `job` could be seen: it had come by then, or it was in the same log. */
static bool was_sent_before(const struct engine *engine, const struct job *twin, const struct job *job,
			    const struct partition *partition)
{
	return twin->arrival <= engine->arrived_at_plan ||
	       (partition && record_place_is_same_log(&twin->place, &job->place) && twin->place.offset < partition->end_at_plan);
}

/* The result of `job` can be seen now. Records of its id that came before it could are the same task, or a mistake. */
static void end_twins(struct engine *engine, const struct job *job)
{
	const struct partition *partition =
		partitions_find_epoch(engine->partitions, job->place.topic, job->place.partition, job->epoch);
	struct job *twin = NULL;

	while ((twin = job_index_next(engine->index, job->task->id, twin)))
		if (twin != job && twin->twin == JOB_TWIN_NONE && was_sent_before(engine, twin, job, partition))
			job_set_twin(twin, job->content, &job->place);
	if (partition && partition->end_at_plan > partition->next_received &&
	    finished_add(engine->finished, job->task->id, job->content, &job->place, partition->end_at_plan) < 0)
		log_warn("engine.finished", "id=%s message=\"no memory to remember its end; if its record was sent twice, it runs "
			 "twice\"", job->task->id);
}

void engine_job_is_told(struct engine *engine, const struct job *job)
{
	if (job->end == JOB_END_TELL && job->result.event == RESULT_EVENT_FINISHED)
		end_twins(engine, job);
}

static void wake_twins(struct engine *engine, const struct job *job)
{
	struct job *twin = NULL;

	while ((twin = job_index_next(engine->index, job->task->id, twin)))
		twin->not_before_mono_ms = 0;
}

void engine_job_is_over(struct engine *engine, struct job *job)
{
	bool is_ours = partitions_find_epoch(engine->partitions, job->place.topic, job->place.partition, job->epoch) &&
		       !engine->drain_mono_ms;

	if (job->has_reservation)
		admission_return(engine->admission, &job->reservation);
	job->has_reservation = false;
	if (job->end == JOB_END_REQUEUE && is_ours) {
		job_hold_again(job);
		return;
	}
	lease_forget(engine->leases, job);
	wake_twins(engine, job); /* its id is free */
	if (job->end == JOB_END_TELL)
		log_info("job.over", "id=%s outcome=%s ran=%s told=%s attempt=%u total_ms=%lld message=\"%s\"", job->task->id,
			 result_outcome_name(job->result.outcome), result_ran_name(job->result.ran),
			 job->is_told ? "yes" : "no", job->attempt,
			 (long long)job->result.timings_ms[RESULT_TIMING_TOTAL], job->result.message);
	job_set_state(job, JOB_DONE);
	TAILQ_REMOVE(&engine->active, job, link);
	engine->n_active--;
	job_free(job);
	engine_ask_admission(engine);
}

void engine_ask_admission(struct engine *engine)
{
	event_active(engine->admit, EV_TIMEOUT, 0);
}

/* In order of arrival: a job that waits for room is overtaken only by those that need none, one that waits for a lease is. */
static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	struct engine *engine = arg;
	uint64_t now = clock_mono_ms();
	struct job *job, *next;
	bool has_room = true;

	(void)fd;
	(void)what;
	for (job = TAILQ_FIRST(&engine->held); job; job = next) {
		struct reservation reservation;
		struct task_flaw flaw;

		next = TAILQ_NEXT(job, link);
		if (job->end != JOB_END_NONE || job->not_before_mono_ms > now)
			continue;
		if (intake_is_foregone(job))
			job_start(job, NULL);
		else if (has_room && admission_ask(engine->admission, job->task, &reservation, &flaw) == ADMISSION_VERDICT_ADMITTED)
			job_start(job, &reservation);
		else if (!job->waits_for_lease)
			has_room = false;
	}
	press_back(engine);
}

static void tick_jobs(struct engine *engine, uint64_t now)
{
	bool is_renewal_due = now - engine->renew_mono_ms >= engine->settings->lease_ms / 3;
	struct job *job;

	TAILQ_FOREACH(job, &engine->active, link) {
		if (is_renewal_due)
			stage_lease_renew(job);
		stage_lease_tick(job, now);
		stage_guest_tick(job, now);
		if (job->stages[STAGE_LEASE] == STAGE_READY && now >= job->ttl_ends_mono_ms)
			job_tell_ttl_over(job);
	}
	if (is_renewal_due)
		engine->renew_mono_ms = now;
}

static void tick_tail(struct engine *engine, struct partition *partition)
{
	int64_t from, to;

	if (partitions_are_suspended(engine->partitions) || !partition_has_tail(partition, &from, &to))
		return;
	partition->log_end = 0;
	if (outbox_add_range(engine->outbox, &(struct outbox_source){ { partition->topic, partition->id, from }, partition->epoch },
			     to, NULL, 0) < 0)
		engine_die(engine, "out of memory for the end of a partition");
}

static void tick_partitions(struct engine *engine)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(engine->partitions, &cursor))) {
		tick_tail(engine, partition);
		if (!partition->is_paused || partition->is_losing || offsets_is_full(partition->offsets))
			continue;
		partition->is_paused = false;
		consumer_resume(engine->consumer, partition->topic, partition->id);
	}
}

static void drop_all(struct job_list *list, const char *why)
{
	struct job *job;

	TAILQ_FOREACH(job, list, link)
		job_drop(job, why);
}

static void tick_drain(struct engine *engine, uint64_t now)
{
	if (!engine->drain_mono_ms)
		return;
	if (now >= engine->drain_mono_ms)
		drop_all(&engine->active, "the worker drains and cannot wait for it");
	if (engine->n_active == 0 && engine->n_held == 0 && outbox_is_idle(engine->outbox)) {
		event_base_loopbreak(engine->base);
	} else if (now >= engine->drain_mono_ms + FAREWELL_MS) {
		log_warn("engine.leave", "active=%zu untold_bytes=%zu message=\"Kafka or a lane does not answer; what is left "
			 "here is for the reaper, and its records are delivered again\"", engine->n_active,
			 outbox_backlog(engine->outbox));
		engine->is_cut_short = true;
		event_base_loopbreak(engine->base);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct engine *engine = arg;
	uint64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	tick_jobs(engine, now);
	tick_partitions(engine);
	if (engine->n_held)
		engine_ask_admission(engine);
	tick_drain(engine, now);
}

/* False while it still has to prove its host. */
static bool has_joined(const struct engine *engine)
{
	return engine->outbox;
}

static void drain(struct engine *engine)
{
	if (engine->drain_mono_ms)
		return;
	if (!has_joined(engine)) {
		event_base_loopbreak(engine->base);
		return;
	}
	log_info("engine.drain", "active=%zu held=%zu drain_ms=%llu", engine->n_active, engine->n_held,
		 (unsigned long long)engine->settings->drain_ms);
	engine->drain_mono_ms = clock_mono_ms() + engine->settings->drain_ms + 1;
	engine->is_paused = true;
	consumer_pause_all(engine->consumer);
	drop_all(&engine->held, "the worker drains");
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drain(arg);
}

void engine_gives_up_host(struct engine *engine, const char *why)
{
	if (engine->drain_mono_ms)
		return;
	log_error("engine.host", "message=\"%s; this host is not fit: it takes no more tasks\"", why);
	engine->exit_code = ENGINE_EXIT_UNFIT;
	drain(engine);
}

void engine_loses_slot(struct engine *engine)
{
	if (++engine->n_lost_slots == engine->settings->slots)
		engine_gives_up_host(engine, "no microVM of any slot could be ended");
}

static void on_supervisor(evutil_socket_t fd, short what, void *arg)
{
	struct engine *engine = arg;
	unsigned lane;
	int lane_fd;

	(void)what;
	if (supervisor_receive_lane(fd, &lane, &lane_fd) < 0) {
		engine_die(engine, "the supervisor is gone");
		return;
	}
	lane_client_attach(engine->lanes[lane], lane_fd);
}

static void replace_lane(struct engine *engine, enum engine_lane lane)
{
	if (supervisor_ask_lane(engine->supervisor_fd, lane) < 0)
		engine_die(engine, "the supervisor cannot be asked for a new lane");
}

static void on_replace_disk(void *ctx)
{
	replace_lane(ctx, ENGINE_LANE_DISK);
}

static void on_replace_vmm(void *ctx)
{
	replace_lane(ctx, ENGINE_LANE_VMM);
}

static void on_fenced(void *ctx, const char *why)
{
	log_error("engine.fenced", "message=\"%s\"", why);
	engine_die(ctx, "this worker was declared dead by the reaper; nothing more may be told");
}

static void on_plan(void *ctx)
{
	struct engine *engine = ctx;
	struct partition *partition;
	size_t cursor = 0;

	engine->arrived_at_plan = engine->n_arrived;
	while ((partition = partitions_next(engine->partitions, &cursor)))
		partition->end_at_plan = consumer_log_end(engine->consumer, partition->topic, partition->id);
}

static int open_bus(struct engine *engine, struct err *err)
{
	const struct settings *settings = engine->settings;
	const struct lease_config leases = { .redis_door = engine->redis_door,
					     .prefix = settings->fleet.topic_prefix,
					     .owner = engine->owner,
					     .host = settings->host,
					     .topics = engine->topics.sources,
					     .n_topics = TOPICS_SOURCES,
					     .lease_ms = (unsigned)settings->lease_ms,
					     .max_attempts = (unsigned)settings->max_attempts };
	struct consumer_config consumer = { .brokers = settings->fleet.brokers,
						  .group = settings->fleet.group,
						  .instance_id = settings->worker,
						  .topics = engine->topics.sources,
						  .n_topics = TOPICS_SOURCES,
						  .session_timeout_ms = SESSION_TIMEOUT_MS,
						  .per_turn = (unsigned)held_max(engine) };
	const struct outbox_config outbox = { .publisher = { .brokers = settings->fleet.brokers,
							     .transactional_id = engine->owner,
							     .group = settings->fleet.group,
							     .transaction_timeout_ms = TRANSACTION_TIMEOUT_MS },
					      .on_plan = on_plan };
	struct answered_config answered = { .group = settings->fleet.group, .partitions = engine->partitions };
	int r = topics_ensure(settings->fleet.brokers, &engine->topics, (int)settings->partitions, BROKER_PATIENCE_MS, err);

	if (r == 0)
		r = credentials_check(settings, engine->redis_door, &engine->topics, engine->owner, err);
	if (r == 0)
		r = leases_new(engine->base, &leases, &engine->leases, err);
	if (r == 0)
		r = committed_new(engine->base, settings->fleet.brokers, &engine->committed, err);
	answered.committed = consumer.committed = engine->committed;
	if (r == 0)
		r = answered_new(engine->base, &answered, &engine->answered, err);
	if (r == 0)
		r = streamer_new(engine->base, settings->fleet.brokers, stage_guest_delivered, engine, &engine->streamer, err);
	if (r == 0)
		r = control_reader_new(engine->base, settings->fleet.brokers, engine->topics.control, intake_control, engine,
				       &engine->control, err);
	if (r == 0)
		r = consumer_new(engine->base, &consumer, &intake_events, engine, &engine->consumer, err);
	if (r == 0)
		r = outbox_new(engine->base, &outbox, engine->consumer, engine->partitions, on_fenced, engine,
			       &engine->outbox, err);
	return r;
}

static int open_events(struct engine *engine, struct err *err)
{
	const struct timeval tick = { .tv_usec = TICK_MS * 1000 };

	engine->admit = event_new(engine->base, -1, 0, on_admit, engine);
	engine->tick = event_new(engine->base, -1, EV_PERSIST, on_tick, engine);
	engine->terminate = evsignal_new(engine->base, SIGTERM, on_terminate, engine);
	engine->supervisor = event_new(engine->base, engine->supervisor_fd, EV_READ | EV_PERSIST, on_supervisor, engine);
	if (!engine->admit || !engine->tick || !engine->terminate || !engine->supervisor ||
	    event_add(engine->tick, &tick) < 0 || event_add(engine->terminate, NULL) < 0 ||
	    event_add(engine->supervisor, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "the engine's events");
	return 0;
}

/* Now, and not with a task in hand: each slot has its disk's key, and for a moment the QMP command that carries it. */
static int try_room_for_keys(const struct engine *engine, struct err *err)
{
	size_t slots = (size_t)engine->settings->slots;

	if (!engine->driver->is_real || secret_try_room(2 * slots, err) == 0)
		return 0;
	return err_wrap(err, "room for the keys of %zu slots", slots);
}

static int open_lanes(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	engine->lanes[ENGINE_LANE_DISK] = lane_client_new(engine->base, "disk", on_replace_disk, engine);
	engine->lanes[ENGINE_LANE_VMM] = lane_client_new(engine->base, "vmm", on_replace_vmm, engine);
	for (int i = 0; i < ENGINE_LANE_COUNT; i++) {
		if (!engine->lanes[i])
			return err_set(err, ERR_HOST, ENOMEM, "the engine's lanes");
		lane_client_attach(engine->lanes[i], ends->lane_fds[i]);
	}
	return 0;
}

static int engine_open(struct engine *engine, const struct engine_ends *ends, struct err *err)
{
	const struct settings *settings = engine->settings;
	const struct admission_limits limits = { .slots = (uint32_t)settings->slots,
						 .memory_mib = settings->memory_mib,
						 .disk_mib = settings->disk_mib,
						 .overhead_mib = engine->driver->is_real ? launcher_qemu.jail->overhead_mib : 0,
						 .cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
						 .largest_disk_mib = DISK_LARGEST_MIB };
	int r;

	engine->base = event_base_new();
	engine->partitions = partitions_new();
	engine->admission = admission_new(&limits);
	engine->cancelled = cancelled_new();
	engine->index = job_index_new();
	engine->finished = finished_new();
	engine->fitness = engine->base ? fitness_new(engine) : NULL;
	if (!engine->base || !engine->partitions || !engine->admission || !engine->cancelled || !engine->index ||
	    !engine->finished || !engine->fitness)
		return err_set(err, ERR_HOST, ENOMEM, "the engine");
	topics_name(settings->fleet.topic_prefix, &engine->topics);
	r = try_room_for_keys(engine, err);
	if (r == 0)
		r = open_events(engine, err);
	if (r == 0)
		r = open_lanes(engine, ends, err);
	if (r == 0 && ends->must_prove_host && engine->driver->is_real)
		fitness_prove(engine->fitness);
	else if (r == 0)
		r = open_bus(engine, err);
	return r;
}

void engine_is_fit(struct engine *engine)
{
	struct err err;

	if (has_joined(engine))
		return;
	supervisor_tell_fit(engine->supervisor_fd);
	if (open_bus(engine, &err) < 0)
		engine_die(engine, err.msg);
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

/* The outbox first: it waits for the transaction in flight and uses the consumer's handle. */
static void engine_close(struct engine *engine)
{
	outbox_free(engine->outbox);
	streamer_free(engine->streamer);
	control_reader_free(engine->control);
	committed_free(engine->committed); /* nobody is answered any more */
	consumer_free(engine->consumer);
	leases_free(engine->leases);
	fitness_free(engine->fitness);
	answered_free(engine->answered);
	redis_door_free(engine->redis_door);
	for (int i = 0; i < ENGINE_LANE_COUNT; i++)
		lane_client_free(engine->lanes[i]);
	free_event(engine->admit);
	free_event(engine->tick);
	free_event(engine->terminate);
	free_event(engine->supervisor);
	admission_free(engine->admission);
	partitions_free(engine->partitions);
	cancelled_free(engine->cancelled);
	job_index_free(engine->index);
	finished_free(engine->finished);
	if (engine->base)
		event_base_free(engine->base);
}

int engine_main(const struct settings *settings, const struct engine_ends *ends)
{
	struct engine engine = { .settings = settings, .accel = ends->accel, .supervisor_fd = ends->supervisor_fd };
	struct err err = { 0 };
	char start[37];

	ident_uuid(start);
	(void)snprintf(engine.owner, sizeof(engine.owner), "%.*s.%s", IDENT_ID_MAX, settings->worker, start);
	engine.driver = vmm_driver_find(settings->vmm); /* settings_load() knows the same names */
	TAILQ_INIT(&engine.active);
	TAILQ_INIT(&engine.held);
	if (fleet_credentials_load(&settings->fleet, &engine.redis_door, &err) < 0 ||
	    confine_process((uid_t)settings->engine_uid, settings->fleet.redis.socket, &err) < 0 || engine_open(&engine, ends, &err) < 0) {
		log_error("engine.start", "message=\"%s\"", err.msg);
		engine.exit_code = err.kind == ERR_INPUT ? ACCESS_EXIT_REFUSED : 1;
	} else {
		log_info("engine.start", "owner=%s vmm=%s accel=%s slots=%llu", engine.owner, engine.driver->name,
			 engine.accel, (unsigned long long)settings->slots);
		(void)event_base_dispatch(engine.base); /* its only failure is having no events */
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
