/* Redis says who holds an id now; whether a record was answered only Kafka says (worker/answered.h). It is asked about the own record
 * when Redis may have forgotten an earlier attempt, and about the other's when another record holds the id.
 *
 *	claim ─► granted ─► in doubt? ─► Kafka: open ─► the lease is the job's (job_has_lease)
 *	  │         └ no doubt ─────────────────────────┘
 *	  ├► another record has the id ─► Kafka: own record open? then: the other's open? ─► share its result, or be refused
 *	  └► held, or nobody knows ─► wait, and claim again
 *
 * An answer that comes after the job's end was decided changes nothing, except that a grant has to be given up. */
#include "worker/job.h"

#include "base/clock.h"
#include "base/log.h"
#include "worker/answered.h"
#include "worker/settings.h"

#define RETRY_HELD_MS 1000   /* somebody's lease has to run out and be reaped first */
#define RETRY_UNKNOWN_MS 500 /* Redis or Kafka did not answer */
#define RETRY_FREED_MS 20    /* a task of this id is over, and its lease is just going */
#define KILL_BUDGET_MS 1000  /* before the lease ends: the time it takes to kill a VM and be sure of it */

/* The record is nobody else's to answer. */
static void go_on(struct job *job)
{
	unsigned max_attempts = (unsigned)job->services->settings->max_attempts;

	if (job->lease.attempt > max_attempts)
		job_tell(job, RESULT_OUTCOME_LOST, RESULT_RAN_UNKNOWN, "workers died under this task in each of %u attempts",
			 job->lease.attempt - 1);
	else
		job_has_lease(job);
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
		job_wait_for_lease(job, RETRY_HELD_MS, "a reaper is about to answer for this record");
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
		if (job->lease.is_holders_task)
			job_share(job);
		else
			job_refuse(job);
		return;
	case ANSWERED_VERDICT_TOLD:
	case ANSWERED_VERDICT_DONE:
		job->lease.is_holder_answered = true;
		job_wait_for_lease(job, RETRY_FREED_MS, "the lease of an earlier task of this id is just going");
		return;
	case ANSWERED_VERDICT_UNKNOWN:
		job_wait_for_lease(job, RETRY_FREED_MS, "whether an earlier task of this id is over is just being decided");
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
		answered_ask(job->services->answered, &job->doubt, &job->same_id_of, on_holders_record, job);
	else
		on_own_record(job, verdict);
}

static void take_grant(struct job *job, const struct lease_grant *grant)
{
	job->lease.is_held = job->lease.was_held = true;
	job->lease.is_holder_answered = false;
	job->lease.token = grant->token;
	job->lease.attempt = grant->attempt;
	job->lease.deadline_mono_ms = grant->deadline_mono_ms;
	job_mark_timing(job, RESULT_TIMING_LEASE, job->lease.asked_mono_ns);
}

/* A later attempt is a question like the first: Redis may have lost its last word, or its memory before an attempt that it counts. */
static void judge_grant(struct job *job)
{
	bool is_in_doubt = job->lease.is_in_doubt || job->lease.redis_epoch != leases_connections(job->services->leases);

	job->wait.is_for_lease = false;
	job->lease.is_in_doubt = true; /* from now on a reaper may find this lease */
	if (is_in_doubt)
		answered_ask(job->services->answered, &job->doubt, &job->source.place, on_own_record, job);
	else
		go_on(job);
}

static void on_other_record(struct job *job, const struct lease_grant *grant)
{
	job->lease.is_holders_task = grant->verdict == LEASE_VERDICT_DUPLICATE;
	job->same_id_of = grant->holder;
	answered_ask(job->services->answered, &job->doubt, &job->source.place, on_own_record_first, job);
}

static void take_refusal(struct job *job, const struct lease_grant *grant)
{
	job->lease.is_in_doubt = true;
	job->lease.may_name_vm = grant->verdict == LEASE_VERDICT_UNKNOWN;
	switch (grant->verdict) {
	case LEASE_VERDICT_DUPLICATE:
	case LEASE_VERDICT_CONFLICT:
		on_other_record(job, grant);
		return;
	case LEASE_VERDICT_TOLD:
		job_skip(job, "the reaper answered for this record");
		return;
	case LEASE_VERDICT_RUNNING:
	case LEASE_VERDICT_REAPING:
	case LEASE_VERDICT_ENDED:
		job_wait_for_lease(job, RETRY_HELD_MS, "an earlier lease of this task has not been reaped yet");
		return;
	case LEASE_VERDICT_FOREIGN:
		job_wait_for_lease(job, RETRY_HELD_MS, "what Redis holds for its id is no lease of this fleet: does another one have its Redis prefix?");
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

static void on_claimed(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;
	bool is_ours = grant->verdict == LEASE_VERDICT_CLAIMED || grant->verdict == LEASE_VERDICT_EXHAUSTED;

	job->lease.is_claiming = false;
	if (is_ours)
		take_grant(job, grant);
	if (job->state == JOB_RELEASING)
		job_lease_give_up(job); /* it waited for this */
	else if (job->end == JOB_END_NONE && is_ours)
		judge_grant(job);
	else if (job->end == JOB_END_NONE)
		take_refusal(job, grant);
}

void job_lease_claim(struct job *job)
{
	const struct lease_source source = { .place = job->source.place,
					     .content = job->source.content,
					     .answered = job->lease.is_holder_answered ? &job->same_id_of : NULL };
	const struct lease_workspace workspace = { .vm_id = job->workspace ? job->workspace->vm_id : NULL,
						   .ttl_ms = job->task->ttl_ms,
						   .slot = job->workspace ? job->workspace->reservation.slot : 0 };

	job->lease.is_claiming = job->lease.may_name_vm = true;
	job->lease.asked_mono_ns = clock_mono_ns();
	lease_claim(job->services->leases, job->task->id, &source, &workspace, on_claimed, job);
}

static void on_given_up(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;

	if (grant->verdict == LEASE_VERDICT_UNKNOWN)
		log_warn("lease.left", "id=%s message=\"Redis did not answer; the lease runs out by itself\"", job->task->id);
	job->lease.is_held = false;
	job_lease_is_over(job);
}

/* Also called again by the answer to a claim that was on its way. */
void job_lease_give_up(struct job *job)
{
	struct leases *leases = job->services->leases;
	const char *id = job->task->id;

	if (job->lease.is_claiming)
		return;
	answered_forget(&job->doubt);
	if (!job->lease.is_held)
		job_lease_is_over(job);
	else if (job->is_told)
		lease_finish(leases, id, job->lease.token, on_given_up, job);
	else if (job_may_have_run(job))
		lease_abandon(leases, id, job->lease.token, job->result.is_key_destroyed, on_given_up, job);
	else
		lease_release(leases, id, job->lease.token, job->result.is_key_destroyed, on_given_up, job);
}

static void on_renewed(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;

	job->lease.is_renewing = false;
	if (grant->verdict == LEASE_VERDICT_DONE) {
		job->lease.deadline_mono_ms = grant->deadline_mono_ms;
	} else if (grant->verdict == LEASE_VERDICT_GONE) {
		job->lease.is_held = false;
		job->lease.deadline_mono_ms = 0; /* what waits to be told is not told any more */
		job_requeue(job, RETRY_HELD_MS, "the lease was taken away");
	} /* else Redis is away: go on until the local deadline */
}

void job_lease_renew(struct job *job)
{
	if (!job->lease.is_held || job->lease.is_renewing || job->state == JOB_RELEASING)
		return;
	job->lease.is_renewing = true;
	lease_renew(job->services->leases, job->task->id, job->lease.token, on_renewed, job);
}

/* The lease may have ended as far as others can see: stop now. What is already decided must not be told any more either, unless it is
 * in a transaction, where the reaper's fencing decides. */
void job_lease_tick(struct job *job, uint64_t now_mono_ms)
{
	if (!job->lease.is_held || now_mono_ms + KILL_BUDGET_MS < job->lease.deadline_mono_ms)
		return;
	if (job->end == JOB_END_NONE)
		log_warn("lease.deadline", "id=%s message=\"not renewed in time\"", job->task->id);
	job_requeue(job, RETRY_HELD_MS, "the lease could not be renewed in time");
}
