/* The engine: the one event loop, and everything that hangs on it. It runs as its own user without capabilities under
 * seccomp (host/confine.h), because it parses what senders, brokers, Redis, VMMs and guests say. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/consumer.h"
#include "bus/control.h"
#include "bus/lease.h"
#include "bus/streamer.h"
#include "bus/topics.h"
#include "lane/client.h"
#include "worker/admission.h"
#include "worker/cancelled.h"
#include "worker/answered.h"
#include "worker/finished.h"
#include "worker/fitness.h"
#include "worker/job.h"
#include "worker/job_index.h"
#include "worker/outbox.h"
#include "worker/partitions.h"
#include "worker/settings.h"

enum engine_lane { ENGINE_LANE_DISK, ENGINE_LANE_VMM, ENGINE_LANE_COUNT };

struct engine {
	const struct settings *settings;
	struct event_base *base;
	struct topics topics;
	char owner[2 * IDENT_ID_MAX]; /* of leases, and the transactional id: <worker>.<uuid of this start> */
	const char *accel;            /* "kvm", "tcg" or "none", as found by the vmm lane */
	const struct vmm_driver *driver;
	struct consumer *consumer;
	struct control_reader *control;
	struct streamer *streamer;
	struct redis_door *redis_door;
	struct leases *leases;
	struct outbox *outbox;
	struct partitions *partitions;
	struct admission *admission;
	struct lane_client *lanes[ENGINE_LANE_COUNT];
	struct job_list active, held;
	size_t n_active, n_held;
	size_t n_waiting; /* of the held: for somebody else's lease to end */
	uint64_t n_arrived; /* tasks so far */
	uint64_t arrived_at_plan; /* when the last transaction was planned: those came before its results could be seen */
	struct job_index *index; /* held and active ones */
	struct finished *finished;
	struct committed *committed;
	struct answered *answered;
	struct cancelled *cancelled; /* ids whose task may still come */
	struct event *tick, *admit, *terminate, *supervisor;
	int supervisor_fd;
	uint64_t renew_mono_ms; /* when leases were last renewed */
	uint64_t drain_mono_ms; /* 0, or when draining must be over */
	bool is_paused;         /* full: no new records */
	struct fitness *fitness;
	unsigned n_lost_slots;
	uint64_t n_lost_records; /* that Kafka deleted before they were done */
	bool is_cut_short; /* drained as far as possible, or must not go on: nothing is closed in order */
	int exit_code;
};

/* What the supervisor hands to the engine: its end of the control socket and of the lanes. */
struct engine_ends {
	int supervisor_fd;
	int lane_fds[ENGINE_LANE_COUNT];
	const char *accel;
	bool must_prove_host; /* before it joins the group: who is back within the session gets its old partitions */
};

#define ENGINE_EXIT_UNFIT 3

/* Runs until drained (0), until this host is seen not to be fit (ENGINE_EXIT_UNFIT), until it must not go on (1), or not at all:
 * Kafka or Redis refuses it (ACCESS_EXIT_REFUSED). */
int engine_main(const struct settings *settings, const struct engine_ends *ends);

/* It cannot go on: say why, kill what runs (closing the lifelines does) and leave with status 1. */
void engine_die(struct engine *engine, const char *why);

/* From fitness.c: it drains and ends, and other hosts do its work; or its own look succeeded. */
void engine_gives_up_host(struct engine *engine, const char *why);
void engine_is_fit(struct engine *engine);

/* From jobs: a microVM could not be ended, and its slot is not used again. With the last slot the worker drains and ends, too. */
void engine_loses_slot(struct engine *engine);

/* From jobs. */
void engine_job_enters_held(struct engine *engine, struct job *job);
void engine_job_leaves_held(struct engine *engine, struct job *job);
void engine_job_is_told(struct engine *engine, const struct job *job); /* its result is committed */
void engine_job_is_over(struct engine *engine, struct job *job); /* every stage has stopped */
void engine_ask_admission(struct engine *engine);                /* room or work may have come */

/* host, worker and source of a result made here */
void engine_fill_origin(const struct engine *engine, const struct record_place *source, struct result *result);

/* A message of a few bytes to the lifecycle side of the results topic; loss is tolerated, order is not promised. */
void engine_stream_event(struct engine *engine, const struct job *job);
