/* The lease stage: the right to run this workspace, kept by renewing, and given up last.
 *
 * Redis says who holds an id now; whether a record was answered only Kafka says (worker/answered.h). It is asked about the own
 * record when Redis may have forgotten an earlier attempt, and about the other's when another record holds the id. */
#include "worker/stages.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/engine.h"
#include "worker/intake.h"

#define RETRY_HELD_MS 1000   /* somebody's lease has to run out and be reaped first */
#define RETRY_UNKNOWN_MS 500 /* Redis or Kafka did not answer */
#define RETRY_FREED_MS 20    /* a task of this id is over, and its lease is just going */
#define KILL_BUDGET_MS 1000  /* before the lease ends: the time it takes to kill a VM and be sure of it */

static void wait_for_lease(struct job *job, unsigned delay_ms, const char *why)
{
	job->waits_for_lease = true;
	job_requeue(job, delay_ms, why);
}

/* The record is nobody else's to answer. */
static void go_on(struct job *job)
{
	unsigned max_attempts = (unsigned)job->engine->settings->max_attempts;

	if (job->attempt > max_attempts)
		job_tell(job, RESULT_OUTCOME_LOST, RESULT_RAN_UNKNOWN,
			 "workers died under this task in each of %u attempts", job->attempt - 1);
	else if (intake_is_foregone(job))
		intake_tell_foregone(job);
	else
		job_stage_ready(job, STAGE_LEASE);
}

static void on_own_record(void *ctx, enum answered_verdict verdict)
{
	struct job *job = ctx;

	switch (verdict) {
	case ANSWERED_VERDICT_OPEN:
		go_on(job);
		return;
	case ANSWERED_VERDICT_TOLD:
	case ANSWERED_VERDICT_DONE:
		job_skip(job, "it was answered already, says Kafka; Redis had forgotten");
		return;
	case ANSWERED_VERDICT_ANNOUNCED:
		wait_for_lease(job, RETRY_HELD_MS, "a reaper is about to answer for this record");
		return;
	case ANSWERED_VERDICT_UNKNOWN:
		job_requeue(job, RETRY_UNKNOWN_MS, "Kafka does not say whether this record was answered");
		return;
	case ANSWERED_VERDICT_COUNT:
		return;
	}
}

/* Another record has the id. If that one is answered, the id is free as soon as its lease is gone: then this claim says whose it was,
 * in case it is an orphan that nobody will come for. */
static void on_holders_record(void *ctx, enum answered_verdict verdict)
{
	struct job *job = ctx;

	switch (verdict) {
	case ANSWERED_VERDICT_OPEN:
	case ANSWERED_VERDICT_ANNOUNCED:
		if (job->is_holders_twin)
			job_share(job);
		else
			job_refuse(job);
		return;
	case ANSWERED_VERDICT_TOLD:
	case ANSWERED_VERDICT_DONE:
		job->is_holder_answered = true;
		wait_for_lease(job, RETRY_FREED_MS, "the lease of an earlier task of this id is just going");
		return;
	case ANSWERED_VERDICT_UNKNOWN:
		wait_for_lease(job, RETRY_FREED_MS, "whether an earlier task of this id is over is just being decided");
		return;
	case ANSWERED_VERDICT_COUNT:
		return;
	}
}

/* Was the own record answered before? Then another record of its id is none of its business. */
static void on_own_record_first(void *ctx, enum answered_verdict verdict)
{
	struct job *job = ctx;

	if (verdict == ANSWERED_VERDICT_OPEN)
		answered_ask(job->engine->answered, &job->twin_of, on_holders_record, job);
	else
		on_own_record(job, verdict);
}

static void take_grant(struct job *job, const struct lease_grant *grant)
{
	job->has_lease = job->had_lease = true;
	job->is_holder_answered = false;
	job->token = grant->token;
	job->attempt = grant->attempt;
	job->lease_deadline_mono_ms = grant->deadline_mono_ms;
	job_mark_timing(job, RESULT_TIMING_LEASE, job->stage_mono_ns[STAGE_LEASE]);
}

/* A later attempt is a question like the first: Redis may have lost its last word, or its memory before an attempt that it counts. */
static void judge_grant(struct job *job)
{
	bool is_in_doubt = job->is_in_doubt || job->redis_epoch != leases_connections(job->engine->leases);

	job->waits_for_lease = false;
	job->is_in_doubt = true; /* from now on a reaper may find this lease */
	if (is_in_doubt)
		answered_ask(job->engine->answered, &job->place, on_own_record, job);
	else
		go_on(job);
}

static void on_claimed(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;
	bool is_ours = grant->verdict == LEASE_VERDICT_CLAIMED || grant->verdict == LEASE_VERDICT_EXHAUSTED;

	job->is_claiming = false;
	if (is_ours)
		take_grant(job, grant);
	if (job->stages[STAGE_LEASE] == STAGE_STOPPING) {
		stage_lease_stop(job);
		return;
	}
	if (is_ours) {
		judge_grant(job);
		return;
	}
	job->is_in_doubt = true;
	switch (grant->verdict) {
	case LEASE_VERDICT_DUPLICATE:
	case LEASE_VERDICT_CONFLICT:
		job->is_holders_twin = grant->verdict == LEASE_VERDICT_DUPLICATE;
		job->twin_of = grant->holder;
		answered_ask(job->engine->answered, &job->place, on_own_record_first, job);
		return;
	case LEASE_VERDICT_TOLD:
		job_skip(job, "the reaper answered for this record");
		return;
	case LEASE_VERDICT_RUNNING:
	case LEASE_VERDICT_REAPING:
	case LEASE_VERDICT_ENDED:
		wait_for_lease(job, RETRY_HELD_MS, "an earlier lease of this task has not been reaped yet");
		return;
	case LEASE_VERDICT_FOREIGN:
		wait_for_lease(job, RETRY_HELD_MS, "what Redis holds for its id is no lease of this fleet: does another one have its Redis prefix?");
		return;
	case LEASE_VERDICT_UNKNOWN:
		job_requeue(job, RETRY_UNKNOWN_MS, "Redis did not answer the claim");
		return;
	case LEASE_VERDICT_CLAIMED:
	case LEASE_VERDICT_EXHAUSTED:
	case LEASE_VERDICT_DONE:
	case LEASE_VERDICT_GONE:
	case LEASE_VERDICT_COUNT:
		return;
	}
}

void stage_lease_start(struct job *job)
{
	struct engine *engine = job->engine;
	const struct lease_source source = { .place = job->place, .content = job->content,
					     .answered = job->is_holder_answered ? &job->twin_of : NULL };
	const struct lease_workspace workspace = { .vm_id = job->task->id, /* what its objects are named by */
						   .ttl_ms = job->task->ttl_ms, .slot = job->reservation.slot };

	if (job->twin != JOB_TWIN_NONE) { /* its lease is not wanted: whoever holds the id may be another task by now */
		intake_tell_foregone(job);
		return;
	}
	job->is_claiming = true;
	lease_claim(engine->leases, job->task->id, &source, &workspace, on_claimed, job);
}

static void on_given_up(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;

	if (grant->verdict == LEASE_VERDICT_UNKNOWN)
		log_warn("lease.left", "id=%s message=\"Redis did not answer; the lease runs out by itself\"", job->task->id);
	job->has_lease = false;
	job_stage_stopped(job, STAGE_LEASE);
}

/* Also called again by the answer to a claim that was on its way when the job ended. */
void stage_lease_stop(struct job *job)
{
	struct leases *leases = job->engine->leases;

	if (job->is_claiming)
		return;
	answered_forget(job->engine->answered, job);
	if (!job->has_lease)
		job_stage_stopped(job, STAGE_LEASE);
	else if (job->is_told)
		lease_finish(leases, job->task->id, job->token, on_given_up, job);
	else if (job_may_have_run(job))
		lease_abandon(leases, job->task->id, job->token, job->result.is_key_destroyed, on_given_up, job);
	else
		lease_release(leases, job->task->id, job->token, job->result.is_key_destroyed, on_given_up, job);
}

static void on_renewed(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;

	job->is_renewing = false;
	if (grant->verdict == LEASE_VERDICT_DONE) {
		job->lease_deadline_mono_ms = grant->deadline_mono_ms;
	} else if (grant->verdict == LEASE_VERDICT_GONE) {
		job->has_lease = false;
		job->lease_deadline_mono_ms = 0; /* what waits to be told is not told any more */
		job_requeue(job, RETRY_HELD_MS, "the lease was taken away");
	} /* else Redis is away: go on until the local deadline */
}

void stage_lease_renew(struct job *job)
{
	if (!job->has_lease || job->is_renewing || job->state == JOB_RELEASING)
		return;
	job->is_renewing = true;
	lease_renew(job->engine->leases, job->task->id, job->token, on_renewed, job);
}

/* The lease may have ended as far as others can see: stop now. What is already decided must not be told any more either,
 * unless it is in a transaction, where the reaper's fencing decides. */
void stage_lease_tick(struct job *job, uint64_t now_mono_ms)
{
	if (!job->has_lease || now_mono_ms + KILL_BUDGET_MS < job->lease_deadline_mono_ms)
		return;
	if (job->end == JOB_END_NONE)
		log_warn("lease.deadline", "id=%s message=\"not renewed in time\"", job->task->id);
	job_requeue(job, RETRY_HELD_MS, "the lease could not be renewed in time");
}
