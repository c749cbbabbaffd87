#include "worker/job.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/channel.h"
#include "worker/engine.h"
#include "worker/job_index.h"
#include "worker/stages.h"

#define REQUEUE_LIMIT 2        /* tries on this host before the task is told to have failed */
#define REQUEUE_DELAY_MS 250   /* a lane or a VMM that just failed gets a moment */
#define HOST_DELAY_MS 1000     /* a host that may not be fit, too, before it is seen to be */

#define TO(state) (1u << (state))

static const struct {
	const char *name;
	unsigned next; /* bits of the states that may follow */
} states[] = {
	[JOB_HELD] = { "held", TO(JOB_LEASING) | TO(JOB_ERASING) },
	[JOB_LEASING] = { "leasing", TO(JOB_PREPARING) | TO(JOB_ERASING) },
	[JOB_PREPARING] = { "preparing", TO(JOB_BOOTING) | TO(JOB_ERASING) },
	[JOB_BOOTING] = { "booting", TO(JOB_RUNNING) | TO(JOB_ERASING) },
	[JOB_RUNNING] = { "running", TO(JOB_COLLECTING) | TO(JOB_ERASING) },
	[JOB_COLLECTING] = { "collecting", TO(JOB_ERASING) },
	[JOB_ERASING] = { "erasing", TO(JOB_TELLING) },
	[JOB_TELLING] = { "telling", TO(JOB_RELEASING) },
	[JOB_RELEASING] = { "releasing", TO(JOB_DONE) | TO(JOB_HELD) },
	[JOB_DONE] = { "done", 0 },
};
static_assert(ARRAY_SIZE(states) == JOB_STATE_COUNT, "every state has its successors");

const char *job_state_name(enum job_state state)
{
	return states[state].name;
}

void job_set_state(struct job *job, enum job_state state)
{
	if (job->state == state)
		return;
	assert(states[job->state].next & TO(state));
	if (job->state == JOB_HELD)
		engine_job_leaves_held(job->engine, job);
	job->state = state;
	if (state == JOB_HELD)
		engine_job_enters_held(job->engine, job);
	log_debug("job.state", "id=%s state=%s attempt=%u", job->task->id, job_state_name(state), job->attempt);
}

static bool stages_are(const struct job *job, unsigned bits, enum stage_status status)
{
	for (int i = 0; i < STAGE_COUNT; i++)
		if ((bits & (1u << i)) && job->stages[i] != status)
			return false;
	return true;
}

static bool start_one(struct job *job)
{
	for (int i = 0; i < STAGE_COUNT; i++) {
		if (job->stages[i] != STAGE_IDLE || !stages_are(job, stages[i].start_after, STAGE_READY))
			continue;
		job->stages[i] = STAGE_STARTING;
		job->stage_mono_ns[i] = clock_mono_ns();
		stages[i].start(job);
		return true;
	}
	return false;
}

static bool stop_one(struct job *job)
{
	for (int i = 0; i < STAGE_COUNT; i++) {
		if (job->stages[i] >= STAGE_STOPPING || !stages_are(job, stages[i].stop_after, STAGE_STOPPED))
			continue;
		if (i == STAGE_REPORT)
			job_set_state(job, JOB_TELLING);
		if (i == STAGE_LEASE)
			job_set_state(job, JOB_RELEASING);
		job->stages[i] = STAGE_STOPPING;
		stages[i].stop(job);
		return true;
	}
	return false;
}

static void set_forward_state(struct job *job)
{
	if (job->state == JOB_LEASING && job->stages[STAGE_LEASE] == STAGE_READY)
		job_set_state(job, JOB_PREPARING);
	if (job->state == JOB_PREPARING && job->stages[STAGE_KEY] == STAGE_READY)
		job_set_state(job, JOB_BOOTING);
}

static void take_turn(struct job *job)
{
	if (job->state == JOB_HELD && job->end == JOB_END_NONE)
		return; /* a turn asked for before it was held again: only admission starts a job */
	while (job->end == JOB_END_NONE && start_one(job))
		set_forward_state(job);
	set_forward_state(job);
	if (job->end == JOB_END_NONE)
		return;
	if (job->state != JOB_TELLING && job->state != JOB_RELEASING)
		job_set_state(job, JOB_ERASING);
	while (stop_one(job))
		;
	if (stages_are(job, (1u << STAGE_COUNT) - 1, STAGE_STOPPED) && job->chunks_in_flight == 0)
		engine_job_is_over(job->engine, job);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	take_turn(arg);
}

void job_wake(struct job *job)
{
	event_active(job->turn, EV_TIMEOUT, 0);
}

struct job *job_new(struct engine *engine, struct task *task, const struct consumer_record *record)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->record = dead_letter_new(record);
	job->turn = event_new(engine->base, -1, 0, on_turn, job);
	if (!job->record || !job->turn) {
		job->state = JOB_DONE;
		job->disk_fd = job->guard_fd = -1;
		job_free(job);
		return NULL;
	}
	job->engine = engine;
	job->task = task;
	job->disk_fd = job->guard_fd = -1;
	job->born_mono_ns = clock_mono_ns();
	result_init(&job->result);
	job->result.event = RESULT_EVENT_FINISHED;
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	assert(job->state == JOB_HELD || job->state == JOB_DONE);
	if (job->turn)
		event_free(job->turn);
	job_index_remove(job);
	task_free(job->task);
	free(job->record);
	result_clear(&job->result);
	secret_free(job->disk_key);
	close_fd(&job->disk_fd);
	EVP_MD_CTX_free(job->digests[0]);
	EVP_MD_CTX_free(job->digests[1]);
	free(job);
}

void job_start(struct job *job, const struct reservation *reservation)
{
	job->has_reservation = reservation;
	if (reservation)
		job->reservation = *reservation;
	job_set_state(job, JOB_LEASING);
	job_wake(job);
}

void job_hold_again(struct job *job)
{
	int64_t queued_ms = job->result.timings_ms[RESULT_TIMING_QUEUED];

	assert(job->end == JOB_END_REQUEUE && !job->has_disk && !job->has_vm && !job->has_lease);
	for (int i = 0; i < STAGE_COUNT; i++)
		job->stages[i] = STAGE_IDLE;
	job->end = JOB_END_NONE;
	result_clear(&job->result);
	result_init(&job->result);
	job->result.event = RESULT_EVENT_FINISHED;
	job->result.timings_ms[RESULT_TIMING_QUEUED] = queued_ms;
	job->has_run_before = job_may_have_run(job);
	job->guest = GUEST_SILENT;
	job->had_lease = job->is_shared = job->is_holders_twin = false;
	job->has_hello = job->is_timed_out = job->is_oom = job->is_vm_left = false;
	job->oom_kills = 0;
	job->next_seq = job->chunk_failures = 0;
	job_set_state(job, JOB_HELD);
}

void job_stage_ready(struct job *job, enum job_stage stage)
{
	if (job->stages[stage] != STAGE_STARTING)
		return; /* it is being stopped already */
	job->stages[stage] = STAGE_READY;
	if (stage == STAGE_LEASE) /* from here on the workspace is being made */
		job->ttl_ends_mono_ms = clock_mono_ms() + job->task->ttl_ms;
	job_wake(job);
}

void job_stage_stopped(struct job *job, enum job_stage stage)
{
	assert(job->stages[stage] == STAGE_STOPPING);
	job->stages[stage] = STAGE_STOPPED;
	job_wake(job);
}

static bool decide(struct job *job, enum job_end end)
{
	if (job->end != JOB_END_NONE)
		return false;
	job->end = end;
	job->end_mono_ns = clock_mono_ns();
	job_wake(job);
	return true;
}

void job_tell(struct job *job, enum result_outcome outcome, enum result_ran ran, const char *message, ...)
{
	va_list ap;

	if (!decide(job, JOB_END_TELL))
		return;
	job->result.outcome = outcome;
	if (ran == RESULT_RAN_NOT_STARTED && (job->attempt > 1 || job_may_have_run(job)))
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
	job_tell(job, outcome, job_has_run(job) ? RESULT_RAN_RAN : RESULT_RAN_NOT_STARTED, "%s: %s", field, message);
}

/* From when it was counted is said: a created_ms in seconds, or a sender's clock, explains many of them. */
void job_tell_queue_over(struct job *job)
{
	const struct task *task = job->task;
	char message[160];

	(void)snprintf(message, sizeof(message), "it could not start within %llu ms of its %s, %llu%s",
		       (unsigned long long)task->queue_ms, task->created_ms ? "created_ms" : "record's timestamp",
		       (unsigned long long)job->created_wall_ms,
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

	(void)snprintf(message, sizeof(message), "its program was ended after %llu ms",
		       (unsigned long long)job->task->timeout_ms);
	tell_over(job, RESULT_OUTCOME_TIMED_OUT, "timeout_ms", message);
}

void job_set_twin(struct job *job, const char *content, const struct record_place *twin_of)
{
	job->twin = strcmp(content, job->content) == 0 ? JOB_TWIN_DUPLICATE : JOB_TWIN_CONFLICT;
	job->twin_of = *twin_of;
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
	job->not_before_mono_ms = clock_mono_ms() + delay_ms;
	log_debug("job.requeue", "id=%s delay_ms=%u why=\"%s\"", job->task->id, delay_ms, why);
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

bool job_has_run(const struct job *job)
{
	return job->guest >= GUEST_RUNNING;
}

bool job_may_have_run(const struct job *job)
{
	return job->guest >= GUEST_LAUNCH || job->has_run_before;
}

/* Nothing of the task's own has run: what failed is this host, or what the task asks of it. */
static void take_fault_before_run(struct job *job, const struct err *err)
{
	struct fitness *fitness = job->engine->fitness;

	if (job->n_faults++ == 0)
		job->n_proofs = fitness_proofs(fitness);
	if (job->n_faults > REQUEUE_LIMIT && fitness_proofs(fitness) != job->n_proofs)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s (tried %u times on this host, where others start)",
			 err->msg, job->n_faults);
	else
		job_requeue(job, job->n_faults > REQUEUE_LIMIT || err->kind == ERR_HOST ? HOST_DELAY_MS : REQUEUE_DELAY_MS, err->msg);
	fitness_fault(fitness, job->task->id, err);
}

void job_fault(struct job *job, const char *field, const struct err *err)
{
	if (job->end != JOB_END_NONE)
		return;
	log_warn("job.fault", "id=%s state=%s kind=%s message=\"%s\"", job->task->id, job_state_name(job->state),
		 err_kind_name(err->kind), err->msg);
	if (err->kind == ERR_INPUT) {
		job_reject(job, field, err->msg);
		return;
	}
	if (job->guest < GUEST_LAUNCH) {
		take_fault_before_run(job, err);
		return;
	}
	if (err->kind == ERR_HOST)
		fitness_fault(job->engine->fitness, job->task->id, err);
	if (job_has_run(job))
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%s", err->msg);
	else if (job->n_requeues < REQUEUE_LIMIT) {
		job->n_requeues++;
		job_requeue(job, REQUEUE_DELAY_MS, err->msg);
	} else
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s", err->msg);
}

void job_mark_timing(struct job *job, enum result_timing stage, uint64_t since_mono_ns)
{
	job->result.timings_ms[stage] = (int64_t)((clock_mono_ns() - since_mono_ns) / 1000000u);
}
