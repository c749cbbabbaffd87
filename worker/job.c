#include "worker/job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/topics.h"
#include "host/disk/disk.h"
#include "worker/dead_letter.h"
#include "worker/kinds.h"
#include "worker/outbox.h"
#include "worker/pool.h"

#define UNTOLD_DELAY_MS 1000 /* the lease has to be reaped first */

#define TO(state) (1u << JOB_##state)

static const struct {
	const char *name;
	unsigned next; /* bits of the states that may follow */
} states[] = {
	[JOB_HELD] = { "held", TO(CLAIMING) | TO(ENDING) },
	[JOB_CLAIMING] = { "claiming", TO(MAKING) | TO(ENDING) },
	[JOB_MAKING] = { "making", TO(RUNNING) | TO(ENDING) },
	[JOB_RUNNING] = { "running", TO(ENDING) },
	[JOB_ENDING] = { "ending", TO(TELLING) },
	[JOB_TELLING] = { "telling", TO(RELEASING) },
	[JOB_RELEASING] = { "releasing", TO(DONE) | TO(HELD) },
	[JOB_DONE] = { "done", 0 },
};
static_assert(ARRAY_SIZE(states) == JOB_STATE_COUNT, "every state has its successors");

const char *job_state_name(enum job_state state)
{
	return states[state].name;
}

static void set_state(struct job *job, enum job_state state)
{
	assert(states[job->state].next & (1u << state));
	job->state = state;
	log_debug("job.state", "id=%s state=%s attempt=%u", job->task->id, job_state_name(state), job->lease.attempt);
}

static void wake(struct job *job)
{
	turn_ask(&job->turn);
}

/* --- forward --- */

void job_choose_shape(struct job *job)
{
	const struct task *task = job->task;
	struct shape rounded = admission_shape_of(task);
	struct task_flaw flaw;

	rounded.memory_mib = shape_memory_class_mib(task->memory_mib);
	rounded.disk_mib = disk_size_class_mib(task->disk_mib);
	job->may_be_clone = job->services->templates && task->start == TASK_START_ANY && !job->tries.is_to_boot && rounded.memory_mib &&
			    admission_is_possible(job->services->admission, &rounded, &flaw);
	job->shape = job->may_be_clone ? rounded : admission_shape_of(task);
}

bool job_take_from_pool(struct job *job)
{
	if (!job->tries.is_without_pool && job->task->start != TASK_START_COLD)
		job->lent = pool_take(job->services->pool, &job->shape);
	return job->lent;
}

void job_start(struct job *job, const struct reservation *reservation)
{
	set_state(job, JOB_CLAIMING);
	if (job->kind->prepare(job, reservation) < 0) {
		admission_return(job->services->admission, reservation);
		job_requeue(job, UNTOLD_DELAY_MS, "no memory for its workspace");
	} else if (job->same_id == JOB_SAME_ID_NONE) {
		job_lease_claim(job);
	} else {
		job_tell_foregone(job); /* its lease is not wanted: whoever holds the id may be another task by now */
	}
}

void job_has_lease(struct job *job)
{
	if (job->end != JOB_END_NONE)
		return;
	if (job_is_foregone(job)) {
		job_tell_foregone(job);
		return;
	}
	set_state(job, JOB_MAKING);
	job->kind->start(job);
}

void job_is_running(struct job *job)
{
	set_state(job, JOB_RUNNING);
}

void job_tick(struct job *job, uint64_t now_mono_ms)
{
	job_lease_tick(job, now_mono_ms);
	if (job->end == JOB_END_NONE && (job->state == JOB_MAKING || job->state == JOB_RUNNING))
		job->kind->tick(job, now_mono_ms);
}

/* --- its end --- */

static void on_told(void *ctx, bool is_told)
{
	struct job *job = ctx;

	job->is_telling = false;
	job->is_told = is_told;
	if (is_told) {
		job->services->on_told(job->services->ctx, job);
	} else {
		job->end = JOB_END_REQUEUE; /* if the record is still ours: its next claim says who answers */
		job->wait.not_before_mono_ms = clock_mono_ms() + UNTOLD_DELAY_MS;
	}
	wake(job);
}

/* The bytes of a rejected record go to the dead letters. Told or not: it may be rejected again, and keeps them. */
static int tell(struct job *job)
{
	const struct topics *topics = job->services->topics;
	const struct outbox_source source = { job->source.place, job->source.epoch };
	bool has_answer = job->end == JOB_END_TELL || job->is_shared;
	bool is_rejected = job->end == JOB_END_TELL && job->result.outcome == RESULT_OUTCOME_REJECTED;
	struct outbox_message messages[2] = { { .topic = topics->results,
						.key = job->task->id,
						.key_len = strlen(job->task->id),
						.on_refusal = OUTBOX_REFUSAL_SHORTEN } };
	int r = has_answer ? job_encode_answer(job, &messages[0].data) : 0;

	if (r == 0 && is_rejected)
		r = dead_letter_message(job->source.letter, topics->dead, &source.place, &messages[1]);
	if (r == 0)
		r = outbox_add(job->services->outbox, &source, messages, is_rejected ? 2 : has_answer ? 1 : 0,
			       job->lease.was_held ? &job->lease.deadline_mono_ms : NULL, on_told, job);
	outbox_message_clear(&messages[0]);
	outbox_message_clear(&messages[1]);
	return r;
}

static void start_telling(struct job *job)
{
	set_state(job, JOB_TELLING);
	if (job->end == JOB_END_REQUEUE || job->end == JOB_END_DROP)
		return;
	job->is_telling = true;
	if (tell(job) == 0)
		return;
	log_error("job.untold", "id=%s message=\"out of memory; the record will be run again\"", job->task->id);
	job->is_telling = false;
	job->end = JOB_END_REQUEUE;
}

static void on_turn(void *ctx)
{
	struct job *job = ctx;

	if (job->end == JOB_END_NONE)
		return;
	if (job->state < JOB_ENDING) {
		set_state(job, JOB_ENDING);
		job->kind->end(job);
	}
	if (job->state == JOB_ENDING && job->may_tell)
		start_telling(job);
	if (job->state == JOB_TELLING && job->is_unwound && !job->is_telling) {
		set_state(job, JOB_RELEASING);
		job_lease_give_up(job);
	}
}

void job_may_tell(struct job *job)
{
	job->may_tell = true;
	wake(job);
}

void job_is_unwound(struct job *job)
{
	job->is_unwound = true;
	wake(job);
}

void job_lease_is_over(struct job *job)
{
	job->kind->release(job);
	job->services->on_over(job->services->ctx, job);
}

/* --- its life --- */

struct job *job_new(const struct job_services *services, struct task *task, const struct consumer_record *record)
{
	struct job *job = malloc(sizeof(*job) + dead_letter_bytes(record));

	if (!job)
		return NULL;
	*job = (struct job){ .services = services };
	job->source.letter = dead_letter_write(job + 1, record);
	turn_init(&job->turn, services->turns, on_turn, job);
	result_init(&job->result);
	job->task = task;
	job->kind = kind_of(task->kind);
	job->source.place = record->place;
	job->born_mono_ns = clock_mono_ns();
	job->result.event = RESULT_EVENT_FINISHED;
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	assert(job->state == JOB_HELD || job->state == JOB_DONE);
	turn_cancel(&job->turn);
	task_free(job->task);
	result_clear(&job->result);
	free(job);
}

void job_set_done(struct job *job)
{
	if (job->end == JOB_END_TELL)
		log_info("job.over", "id=%s outcome=%s ran=%s told=%s attempt=%u total_ms=%lld message=\"%s\"", job->task->id,
			 result_outcome_name(job->result.outcome), result_ran_name(job->result.ran), job->is_told ? "yes" : "no",
			 job->lease.attempt, (long long)job->result.timings_ms[RESULT_TIMING_TOTAL], job->result.message);
	lease_forget(job->services->leases, job); /* a renewal may not be answered yet */
	set_state(job, JOB_DONE);
}

void job_hold_again(struct job *job)
{
	int64_t queued_ms = job->result.timings_ms[RESULT_TIMING_QUEUED];

	assert(job->end == JOB_END_REQUEUE && !job->workspace && !job->lease.is_held);
	lease_forget(job->services->leases, job); /* a renewal may not be answered yet */
	job->lease.is_renewing = false;
	job->end = JOB_END_NONE;
	result_clear(&job->result);
	result_init(&job->result);
	job->result.event = RESULT_EVENT_FINISHED;
	job->result.timings_ms[RESULT_TIMING_QUEUED] = queued_ms;
	job->tries.may_have_run = job_may_have_run(job);
	job->ran = JOB_RAN_NO;
	job->lease.was_held = job->lease.is_holders_task = job->is_shared = false;
	job->may_tell = job->is_unwound = job->is_told = job->is_from_pool = false;
	set_state(job, JOB_HELD);
}

enum result_ran job_result_ran(const struct job *job)
{
	return job->ran == JOB_RAN_YES ? RESULT_RAN_RAN : RESULT_RAN_NOT_STARTED;
}

bool job_may_have_run(const struct job *job)
{
	return job->ran != JOB_RAN_NO || job->tries.may_have_run;
}

void job_mark_timing(struct job *job, enum result_timing timing, uint64_t since_mono_ns)
{
	job->result.timings_ms[timing] = clock_ms_since(since_mono_ns);
}
