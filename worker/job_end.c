/* The end of a job: who decides it, and as what. The first decision stands. */
#include "worker/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/fitness.h"
#include "worker/kinds.h"

#define REQUEUE_LIMIT 2	     /* tries on this host before the task is told to have failed */
#define REQUEUE_DELAY_MS 250 /* a lane or a VMM that just failed gets a moment */
#define HOST_DELAY_MS 1000   /* a host that may not be fit, too, before it is seen to be */

static bool decide(struct job *job, enum job_end end)
{
	if (job->end != JOB_END_NONE)
		return false;
	job->end = end;
	turn_ask(&job->turn);
	return true;
}

void job_tell(struct job *job, enum result_outcome outcome, enum result_ran ran, const char *message, ...)
{
	va_list ap;

	if (!decide(job, JOB_END_TELL))
		return;
	job->result.outcome = outcome;
	if (ran == RESULT_RAN_NOT_STARTED && (job->lease.attempt > 1 || job_may_have_run(job)))
		ran = RESULT_RAN_UNKNOWN;
	job->result.ran = ran;
	va_start(ap, message);
	(void)vsnprintf(job->result.message, sizeof(job->result.message), message, ap); /* cut at its size */
	va_end(ap);
}

void job_reject(struct job *job, const char *field, const char *message)
{
	if (job->end != JOB_END_NONE)
		return;
	(void)snprintf(job->result.field, sizeof(job->result.field), "%s", field);
	job_tell(job, RESULT_OUTCOME_REJECTED, RESULT_RAN_NOT_STARTED, "%s", message);
}

/* `field` names which: two of them end as the same outcome. */
static void tell_over(struct job *job, enum result_outcome outcome, const char *field, const char *message)
{
	if (job->end != JOB_END_NONE)
		return;
	(void)snprintf(job->result.field, sizeof(job->result.field), "%s", field);
	job_tell(job, outcome, job_result_ran(job), "%s: %s", field, message);
}

/* From when it was counted is said: a created_ms in seconds, or a sender's clock, explains many of them. */
void job_tell_queue_over(struct job *job)
{
	const struct task *task = job->task;
	char message[160];

	(void)snprintf(message, sizeof(message), "it could not start within %llu ms of its %s, %llu%s",
		       (unsigned long long)task->queue_ms, task->created_ms ? "created_ms" : "record's timestamp",
		       (unsigned long long)job->source.created_wall_ms,
		       task->created_ms && task->created_ms < TASK_SECONDS_BELOW ? "; is that in seconds?" : "");
	tell_over(job, RESULT_OUTCOME_EXPIRED, "queue_ms", message);
}

void job_tell_ttl_over(struct job *job)
{
	char message[80];

	(void)snprintf(message, sizeof(message), "its workspace was ended after %llu ms", (unsigned long long)job->task->ttl_ms);
	tell_over(job, RESULT_OUTCOME_EXPIRED, "ttl_ms", message);
}

void job_tell_timeout_over(struct job *job)
{
	char message[80];

	(void)snprintf(message, sizeof(message), "its program was ended after %llu ms", (unsigned long long)job->task->timeout_ms);
	tell_over(job, RESULT_OUTCOME_TIMED_OUT, "timeout_ms", message);
}

void job_set_same_id(struct job *job, const char *content, const struct record_place *other)
{
	job->same_id = strcmp(content, job->source.content) == 0 ? JOB_SAME_ID_DUPLICATE : JOB_SAME_ID_CONFLICT;
	job->same_id_of = *other;
}

void job_share(struct job *job)
{
	if (job->end != JOB_END_NONE)
		return;
	job->is_shared = true;
	job_skip(job, "the same task was sent before, and its result answers both");
}

void job_refuse(struct job *job)
{
	if (job->end != JOB_END_NONE)
		return;
	job->result.event = RESULT_EVENT_REFUSED;
	job_reject(job, "id", "id: another task with this id is running, and its content is another; choose a new id, or send "
			      "this one again after its result");
}

void job_requeue(struct job *job, unsigned delay_ms, const char *why)
{
	if (!decide(job, JOB_END_REQUEUE))
		return;
	job->wait.not_before_mono_ms = clock_mono_ms() + delay_ms;
	log_debug("job.requeue", "id=%s delay_ms=%u why=\"%s\"", job->task->id, delay_ms, why);
}

void job_wait_for_lease(struct job *job, unsigned delay_ms, const char *why)
{
	job->wait.is_for_lease = true;
	job_requeue(job, delay_ms, why);
}

void job_drop(struct job *job, const char *why)
{
	if (!decide(job, JOB_END_DROP))
		return;
	log_info("job.drop", "id=%s state=%s why=\"%s\"", job->task->id, job_state_name(job->state), why);
}

void job_skip(struct job *job, const char *why)
{
	if (!decide(job, JOB_END_SKIP))
		return;
	log_info("job.skip", "id=%s why=\"%s\"", job->task->id, why);
}

void job_cancel(struct job *job)
{
	job->wait.is_cancelled = true;
	if (job->end == JOB_END_NONE && (job->state == JOB_MAKING || job->state == JOB_RUNNING))
		job->kind->cancel(job);
}

bool job_is_foregone(const struct job *job)
{
	bool is_late = job->wait.queue_ends_mono_ms && clock_mono_ms() >= job->wait.queue_ends_mono_ms;

	return job->same_id != JOB_SAME_ID_NONE || job->wait.is_cancelled || job->wait.is_impossible || is_late;
}

void job_tell_foregone(struct job *job)
{
	struct shape shape = admission_shape_of(job->task);
	struct task_flaw flaw;

	if (job->same_id == JOB_SAME_ID_DUPLICATE)
		job_share(job);
	else if (job->same_id == JOB_SAME_ID_CONFLICT)
		job_refuse(job);
	else if (job->wait.is_cancelled)
		job_tell(job, RESULT_OUTCOME_CANCELLED, RESULT_RAN_NOT_STARTED, "cancelled by its sender");
	else if (!admission_is_possible(job->services->admission, &shape, &flaw))
		job_reject(job, flaw.field, flaw.message);
	else
		job_tell_queue_over(job);
}

/* Nothing of the task's own has run: what failed is this host, or what the task asks of it. */
static void take_fault_before_run(struct job *job, const struct err *err)
{
	struct fitness *fitness = job->services->fitness;
	struct job_tries *tries = &job->tries;

	if (tries->n_faults++ == 0)
		tries->n_proofs = fitness_proofs(fitness);
	if (tries->n_faults > REQUEUE_LIMIT && fitness_proofs(fitness) != tries->n_proofs)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s (tried %u times on this host, where others start)",
			 err->msg, tries->n_faults);
	else
		job_requeue(job, tries->n_faults > REQUEUE_LIMIT || err->kind == ERR_HOST ? HOST_DELAY_MS : REQUEUE_DELAY_MS, err->msg);
	fitness_fault(fitness, job->task->id, err);
}

static void take_fault_after_launch(struct job *job, const struct err *err)
{
	if (err->kind == ERR_HOST)
		fitness_fault(job->services->fitness, job->task->id, err);
	if (job->ran == JOB_RAN_YES)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%s", err->msg);
	else if (job->tries.n_requeues++ < REQUEUE_LIMIT)
		job_requeue(job, REQUEUE_DELAY_MS, err->msg);
	else
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s", err->msg);
}

void job_fault(struct job *job, const char *field, const struct err *err)
{
	if (job->end != JOB_END_NONE)
		return;
	log_warn("job.fault", "id=%s state=%s kind=%s message=\"%s\"", job->task->id, job_state_name(job->state),
		 err_kind_name(err->kind), err->msg);
	if (err->kind == ERR_INPUT)
		job_reject(job, field, err->msg);
	else if (job->ran == JOB_RAN_NO)
		take_fault_before_run(job, err);
	else
		take_fault_after_launch(job, err);
}
