/* The lease stage: the right to run this workspace, kept by renewing, and given up last. */
#include "worker/stages.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/engine.h"
#include "worker/intake.h"

#define RETRY_HELD_MS 1000   /* somebody's lease has to run out and be reaped first */
#define RETRY_UNKNOWN_MS 500 /* Redis did not answer */
#define KILL_BUDGET_MS 1000  /* before the lease ends: the time it takes to kill a VM and be sure of it */

static void on_claimed(void *ctx, const struct lease_grant *grant)
{
	struct job *job = ctx;
	bool is_ours = grant->verdict == LEASE_VERDICT_CLAIMED || grant->verdict == LEASE_VERDICT_EXHAUSTED;

	job->is_claiming = false;
	if (is_ours) {
		job->has_lease = true;
		job->token = grant->token;
		job->attempt = grant->attempt;
		job->lease_deadline_mono_ms = grant->deadline_mono_ms;
		job_mark_timing(job, RESULT_STAGE_LEASE, job->stage_mono_ns[STAGE_LEASE]);
	}
	if (job->stages[STAGE_LEASE] == STAGE_STOPPING) {
		stage_lease_stop(job);
		return;
	}
	switch (grant->verdict) {
	case LEASE_VERDICT_CLAIMED:
		if (intake_is_foregone(job))
			intake_tell_foregone(job);
		else
			job_stage_ready(job, STAGE_LEASE);
		return;
	case LEASE_VERDICT_EXHAUSTED:
		job_tell(job, RESULT_OUTCOME_LOST, RESULT_RAN_UNKNOWN,
			 "workers died under this task in each of %u attempts", job->attempt > 0 ? job->attempt - 1 : 0);
		return;
	case LEASE_VERDICT_DUPLICATE:
		job_reject(job, "id", "id: another task with this id is running; choose a new one");
		return;
	case LEASE_VERDICT_ENDED:
		job_skip(job, "the reaper answered for this record");
		return;
	case LEASE_VERDICT_HELD:
	case LEASE_VERDICT_GONE:
		job_requeue(job, RETRY_HELD_MS, "an earlier lease of this task has not been reaped yet");
		return;
	case LEASE_VERDICT_UNKNOWN:
		job_requeue(job, RETRY_UNKNOWN_MS, "Redis did not answer the claim");
		return;
	case LEASE_VERDICT_COUNT:
		return;
	}
}

void stage_lease_start(struct job *job)
{
	struct engine *engine = job->engine;
	const struct lease_source source = { .topic = engine->topics.tasks, .partition = job->partition,
					     .offset = job->offset };

	job->is_claiming = true;
	lease_claim(engine->leases, job->task->id, &source, job->task->ttl_ms, job->reservation.slot, on_claimed, job);
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
	if (grant->verdict == LEASE_VERDICT_CLAIMED) {
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
