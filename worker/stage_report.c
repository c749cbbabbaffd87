/* The report stage: it starts with nothing to do, and stops by telling the result, once the key is gone and every streamed
 * chunk is acknowledged. */
#include "worker/stages.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/engine.h"

#define UNTOLD_DELAY_MS 1000 /* the lease has to be reaped first */

void stage_report_start(struct job *job)
{
	job_stage_ready(job, STAGE_REPORT);
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from); /* cut at its size */
}

static void note(struct result *result, const char *what)
{
	size_t used = strlen(result->message);

	(void)snprintf(result->message + used, sizeof(result->message) - used, "%s%s", used ? "; " : "", what); /* cut at its size */
}

static void fill_result(struct job *job)
{
	struct engine *engine = job->engine;
	struct result *result = &job->result;
	bool has_run_vm = result->timings_ms[RESULT_TIMING_VMM] >= 0;

	engine_fill_origin(engine, &job->place, result);
	copy_text(result->id, sizeof(result->id), job->task->id);
	result->kind = job->task->kind;
	result->attempt = job->attempt;
	result->token = job->token;
	if (has_run_vm || !engine->driver->is_real) {
		copy_text(result->vmm, sizeof(result->vmm), engine->driver->name);
		copy_text(result->accel, sizeof(result->accel), engine->accel);
		copy_text(result->disk, sizeof(result->disk), engine->driver->disk);
		copy_text(result->net, sizeof(result->net), "none");
	}
	result->labels = job->task->labels; /* lent for the encoding */
	result->n_labels = job->task->n_labels;
	if (job->chunk_failures)
		note(result, "some output could not be streamed");
	if (job->is_vm_left)
		note(result, "its microVM could not be killed and may still run");
	job_mark_timing(job, RESULT_TIMING_TOTAL, job->born_mono_ns);
	result->finished_ms = clock_wall_ms();
}

/* In the same transaction that marks its record done. */
static int encode_duplicate(const struct job *job, struct buf *out)
{
	struct result word;

	result_init(&word);
	word.event = RESULT_EVENT_DUPLICATE;
	engine_fill_origin(job->engine, &job->place, &word);
	copy_text(word.id, sizeof(word.id), job->task->id);
	word.kind = job->task->kind;
	copy_text(word.same_as.topic, sizeof(word.same_as.topic), job->twin_of.topic);
	word.same_as.partition = job->twin_of.partition;
	word.same_as.offset = job->twin_of.offset;
	word.labels = job->task->labels; /* lent for the encoding */
	word.n_labels = job->task->n_labels;
	word.finished_ms = clock_wall_ms();
	return result_encode(&word, out);
}

static void on_told(void *ctx, bool is_told)
{
	struct job *job = ctx;

	job->is_told = is_told;
	if (is_told)
		engine_job_is_told(job->engine, job);
	if (!is_told) {
		job->end = JOB_END_REQUEUE; /* if the record is still ours: its next claim says who answers */
		job->not_before_mono_ms = clock_mono_ms() + UNTOLD_DELAY_MS;
	}
	job_stage_stopped(job, STAGE_REPORT);
}

static int encode(struct job *job, struct buf *out)
{
	int r;

	if (job->end == JOB_END_SKIP)
		return encode_duplicate(job, out);
	fill_result(job);
	r = result_encode(&job->result, out);
	job->result.labels = NULL;
	job->result.n_labels = 0;
	return r;
}

static int tell(struct job *job)
{
	const struct topics *topics = &job->engine->topics;
	const struct outbox_source source = { job->place, job->epoch };
	bool is_told = job->end == JOB_END_TELL || (job->end == JOB_END_SKIP && job->is_shared);
	bool is_dead = job->end == JOB_END_TELL && job->result.outcome == RESULT_OUTCOME_REJECTED;
	struct outbox_message messages[2] = { { .topic = topics->results,
						.key = job->task->id,
						.key_len = strlen(job->task->id),
						.on_refusal = OUTBOX_REFUSAL_SHORTEN } };
	int r = is_told ? encode(job, &messages[0].data) : 0;

	if (r == 0 && is_dead)
		r = dead_letter_message(job->record, topics->dead, &source.place, &messages[1]);
	if (r == 0)
		r = outbox_add(job->engine->outbox, &source, messages, is_dead ? 2 : is_told ? 1 : 0,
			       job->had_lease ? &job->lease_deadline_mono_ms : NULL, on_told, job);
	outbox_message_clear(&messages[0]);
	outbox_message_clear(&messages[1]);
	return r;
}

/* Called again by each acknowledgement of a chunk. */
void stage_report_go_on(struct job *job)
{
	if (job->stages[STAGE_REPORT] != STAGE_STOPPING || job->is_reporting || job->chunks_in_flight > 0)
		return;
	job->is_reporting = true;
	if (job->end == JOB_END_REQUEUE || job->end == JOB_END_DROP) {
		job_stage_stopped(job, STAGE_REPORT);
		return;
	}
	if (tell(job) == 0)
		return;
	log_error("report.lost", "id=%s message=\"out of memory; the record will be run again\"", job->task->id);
	job->end = JOB_END_REQUEUE;
	job_stage_stopped(job, STAGE_REPORT);
}

void stage_report_stop(struct job *job)
{
	job->is_reporting = false;
	stage_report_go_on(job);
}
