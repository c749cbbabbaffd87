/* run: one program in a workspace of its own.
 *
 *	prepare   the workspace gets its id, which the claim says
 *	start     make the workspace
 *	ready     start the program in it
 *	exited    collect its files, if it is to leave some; then its outcome is decided
 *	end       the program is not heard any more; the VM is killed, its key destroyed, and every chunk of output that was handed to
 *	          Kafka is acknowledged: the result may be told
 *	gone      its files are removed as well: nothing is left
 *
 * Whatever happens in between (a fault, a time that is over, a cancellation) decides the job's end, and `end` follows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/topics.h"
#include "host/images.h"
#include "worker/answer.h"
#include "worker/job.h"
#include "worker/kinds.h"
#include "worker/pool.h"
#include "worker/settings.h"
#include "worker/templates.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/exec.h"

#define OOM_TEXT_BYTES 208 /* of a sentence that others may follow */

/* --- its workspace --- */

/* Was it the template's fault, as far as anybody knows? A disk that cannot be made is not. */
static bool has_failed_as_clone(const struct job *job, const char *field, const struct err *err)
{
	return job->template && job->workspace->state == WORKSPACE_MAKING && err->kind != ERR_INPUT && strcmp(field, "disk_mib") != 0;
}

/* A clone that does not come to life says nothing about the task or this host: the next try boots. */
static void lose_clone(struct job *job, const struct err *err)
{
	templates_failed(job->services->templates, job->template, err);
	job->tries.is_to_boot = true;
	log_warn("clone.fallback", "id=%s vm=%s message=\"%s; it boots instead\"", job->task->id, job->workspace->vm_id, err->msg);
	job_requeue(job, 0, err->msg);
}

/* Nor does one that was made ahead and breaks before the program can have begun: the next try makes its own. */
static void lose_pooled(struct job *job, const char *why)
{
	job->tries.is_without_pool = true;
	job_requeue(job, 0, why);
}

static void on_fault(void *ctx, const char *field, const struct err *err)
{
	struct job *job = ctx;

	if (job->end != JOB_END_NONE)
		return;
	if (job->is_from_pool && job->ran == JOB_RAN_NO)
		lose_pooled(job, err->msg);
	else if (has_failed_as_clone(job, field, err))
		lose_clone(job, err);
	else
		job_fault(job, field, err);
}

static void on_over(void *ctx, enum workspace_over over)
{
	struct job *job = ctx;

	if (over == WORKSPACE_OVER_TTL)
		job_tell_ttl_over(job);
	else if (job->exec && exec_is_held_back(job->exec))
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN,
			 "the guard ended the microVM at its deadline, while its output waited for Kafka");
	else
		job_tell(job, RESULT_OUTCOME_TIMED_OUT, job_result_ran(job), "the guard ended the microVM at its deadline");
}

/* A result waits for the last chunk of its output. */
static void go_on_ending(struct job *job)
{
	bool is_drained = !job->exec || exec_is_drained(job->exec);

	if (is_drained && job->workspace->is_key_told && !job->may_tell)
		job_may_tell(job);
	if (is_drained && job->workspace->state == WORKSPACE_GONE)
		job_is_unwound(job);
}

static void on_key_destroyed(void *ctx)
{
	struct job *job = ctx;

	job->result.is_key_destroyed = job->workspace->is_key_destroyed;
	go_on_ending(job);
}

static void on_gone(void *ctx)
{
	go_on_ending(ctx);
}

static void on_workspace(void *ctx);

static const struct workspace_events workspace_events = { .on_ready = on_workspace,
							  .on_fault = on_fault,
							  .on_over = on_over,
							  .on_key_destroyed = on_key_destroyed,
							  .on_gone = on_gone };

static void put_template(struct job *job)
{
	if (job->template)
		templates_put(job->services->templates, TAKE_PTR(job->template));
}

static int run_prepare(struct job *job, const struct reservation *reservation)
{
	const struct task *task = job->task;

	if (job->lent)
		job->workspace = pooled_workspace(job->lent);
	if (!job->lent && !reservation)
		return 0;
	if (job->may_be_clone && !job->lent)
		job->template = templates_take(job->services->templates, &job->shape);
	job->plan = (struct workspace_plan){ .image = task->image,
					     .cpus = task->cpus,
					     .memory_mib = job->shape.memory_mib,
					     .disk_mib = task->disk_mib,
					     .ttl_ms = task->ttl_ms,
					     .use_ms = exec_longest_ms(task),
					     .start = job->template ? WORKSPACE_START_CLONE : WORKSPACE_START_COLD,
					     .template = job->template,
					     .owner_id = task->id };
	if (job->lent)
		return 0;
	job->workspace = workspace_new(&job->services->workspaces, &job->plan, reservation, &workspace_events, job);
	if (job->workspace)
		return 0;
	put_template(job);
	return -ENOMEM;
}

static void run_start(struct job *job)
{
	if (!job->lent) {
		workspace_begin(job->workspace);
		return;
	}
	job->workspace = pool_hand_over(job->services->pool, TAKE_PTR(job->lent), &job->plan, &job->template, &workspace_events,
					job);
	job->is_from_pool = job->workspace;
	if (!job->workspace)
		lose_pooled(job, "what was made ahead of it could not be handed over");
}

/* --- its program --- */

static bool is_wanted(void *ctx)
{
	const struct job *job = ctx;

	return job->end == JOB_END_NONE;
}

static void on_started(void *ctx)
{
	struct job *job = ctx;
	bool has_run = exec_outcome(job->exec)->has_run;

	job_is_running(job);
	if (!has_run)
		return;
	job->ran = JOB_RAN_YES;
	job_mark_timing(job, RESULT_TIMING_START, job->born_mono_ns);
	job_stream_start(job);
}

/* Which images of this host have the program that this one lacks; "" when none is known. */
static void hint_at_images(const struct job *job, const char *missing, char *text, size_t size)
{
	char images[128] = "";

	images_with(job->services->workspaces.place, missing, images, sizeof(images));
	text[0] = '\0';
	if (images[0])
		(void)snprintf(text, size, "; it is in these images: %s", images);
}

static void on_failed(void *ctx, const char *why, const char *missing)
{
	struct job *job = ctx;
	char hint[160];

	job->ran = JOB_RAN_NO; /* what was asked for did not happen */
	hint_at_images(job, missing, hint, sizeof(hint));
	job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s%s", why, hint);
}

static size_t count_uncollected(const struct result *result)
{
	size_t n = 0;

	for (size_t i = 0; i < result->n_files; i++)
		n += result->files[i].error[0] ? 1 : 0;
	return n;
}

static const char *also_killed(const struct job *job, const struct exec_outcome *outcome)
{
	if (job->task->oom == TASK_OOM_PROGRAM && outcome->is_oom)
		return ", and the program with it,";
	return outcome->oom_kills > 1 ? ", the first of several," : "";
}

/* Who died of it, what there was, and what to do; "" when nobody did. */
static void describe_oom(const struct job *job, const struct exec_outcome *outcome, char text[OOM_TEXT_BYTES])
{
	text[0] = '\0';
	if (outcome->oom_kills || outcome->is_oom)
		(void)snprintf(text, OOM_TEXT_BYTES, "out of memory: %s%s was killed; of the VM's %u MiB the program had %llu (memory_mib)",
			       outcome->oom_process[0] ? outcome->oom_process : "a process", also_killed(job, outcome),
			       job->plan.memory_mib, (unsigned long long)outcome->memory_kib / 1024);
}

static void decide_by_exit(struct job *job, const char *oom)
{
	const struct result *result = &job->result;
	size_t n_uncollected = count_uncollected(result);
	char so[OOM_TEXT_BYTES + 2];

	(void)snprintf(so, sizeof(so), "%s%s", oom, oom[0] ? "; " : "");
	if (result->has_signal)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%skilled by signal %u", so, result->signal);
	else if (result->exit_code != 0)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%sexit code %u", so, result->exit_code);
	else if (n_uncollected)
		job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_RAN, "%s%zu of %zu files could not be collected; 'files' says why", so,
			 n_uncollected, job->task->n_collect);
	else
		job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_RAN, "%s", oom);
}

static void decide(struct job *job)
{
	const struct exec_outcome *outcome = exec_outcome(job->exec);
	char oom[OOM_TEXT_BYTES];

	describe_oom(job, outcome, oom);
	if (!outcome->has_run)
		job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_NOT_STARTED, "the null VMM runs nothing");
	else if (outcome->is_timed_out)
		job_tell_timeout_over(job);
	else if (outcome->is_oom)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%s", oom);
	else
		decide_by_exit(job, oom);
}

static void on_collected(void *ctx)
{
	decide(ctx);
}

static void on_exited(void *ctx)
{
	struct job *job = ctx;

	if (job->task->n_collect)
		exec_collect(job->exec);
	else
		decide(job);
}

static void on_late(void *ctx)
{
	struct job *job = ctx;

	switch (exec_state(job->exec)) {
	case EXEC_LAUNCHING:
		workspace_guest_fault(job->workspace, "it did not start its program in time");
		return;
	case EXEC_RUNNING:
		job_tell_timeout_over(job);
		return;
	case EXEC_COLLECTING:
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "the guest did not hand over its files in time");
		return;
	case EXEC_EXITED:
	case EXEC_OVER:
	case EXEC_STATE_COUNT:
		return;
	}
}

static void on_drained(void *ctx)
{
	go_on_ending(ctx);
}

static const struct exec_events exec_events = { .is_wanted = is_wanted,
						.on_started = on_started,
						.on_failed = on_failed,
						.on_exited = on_exited,
						.on_collected = on_collected,
						.on_late = on_late,
						.on_drained = on_drained };

static void on_workspace(void *ctx)
{
	struct job *job = ctx;
	const struct exec_config config = { .workspace = job->workspace,
					    .program = job->task,
					    .result = &job->result,
					    .stream = { .streamer = job->services->streamer,
							.topic = job->services->topics->output,
							.attempt = job->lease.attempt },
					    .events = &exec_events,
					    .ctx = job };

	if (job->end != JOB_END_NONE)
		return; /* its end was decided in this turn of the loop: nothing starts any more */
	job->exec = exec_new(&config);
	if (!job->exec) {
		workspace_guest_fault(job->workspace, "no memory for its program");
		return;
	}
	exec_start(job->exec);
	if (job->ran == JOB_RAN_NO && exec_outcome(job->exec)->may_run)
		job->ran = JOB_RAN_MAYBE;
}

static void run_tick(struct job *job, uint64_t now_mono_ms)
{
	if (job->exec)
		exec_tick(job->exec, now_mono_ms);
	workspace_tick(job->workspace, now_mono_ms);
}

static void run_cancel(struct job *job)
{
	job_tell(job, RESULT_OUTCOME_CANCELLED, job_result_ran(job), "cancelled by its sender");
}

/* --- its end --- */

static void run_end(struct job *job)
{
	if (job->exec)
		exec_end(job->exec);
	if (job->lent) {
		pool_give_back(job->services->pool, TAKE_PTR(job->lent), job->lease.may_name_vm);
		job->workspace = NULL;
	}
	if (job->workspace) {
		workspace_end(job->workspace);
		return;
	}
	job_may_tell(job);
	job_is_unwound(job);
}

static const char *start_name(const struct job *job)
{
	if (!job->workspace || !job->services->workspaces.backend->control)
		return "";
	if (job->is_from_pool)
		return "pool";
	return job->workspace->plan->start == WORKSPACE_START_CLONE ? "clone" : "cold";
}

static void run_fill_result(const struct job *job, struct result *result)
{
	const struct backend *backend = job->services->workspaces.backend;
	const struct workspace *workspace = job->workspace;
	int64_t *timings = result->timings_ms;

	/* What is said of isolation is true once there was a VM, and always where there never is one. */
	if (!backend->control || job->is_from_pool || (workspace && workspace->took.vmm_ms >= 0))
		answer_set_isolation(result, backend, job->services->accel, start_name(job));
	if (!workspace)
		return; /* it did not come to that */
	timings[RESULT_TIMING_VMM] = workspace->took.vmm_ms;
	timings[RESULT_TIMING_DISK] = workspace->took.disk_ms;
	timings[RESULT_TIMING_BOOT] = workspace->took.boot_ms;
	timings[RESULT_TIMING_KEY] = workspace->took.key_ms;
	timings[RESULT_TIMING_SETUP] = workspace->took.setup_ms;
	timings[RESULT_TIMING_ERASE] = workspace->took.erase_ms;
	if (job->exec && exec_chunk_failures(job->exec))
		answer_note(result, "some output could not be streamed");
	if (workspace->is_vm_left)
		answer_note(result, "its microVM could not be killed and may still run");
}

static void run_release(struct job *job)
{
	exec_free(TAKE_PTR(job->exec));
	workspace_free(TAKE_PTR(job->workspace));
	put_template(job);
}

const struct kind kind_run = {
	.prepare = run_prepare,
	.start = run_start,
	.tick = run_tick,
	.cancel = run_cancel,
	.end = run_end,
	.fill_result = run_fill_result,
	.release = run_release,
};
