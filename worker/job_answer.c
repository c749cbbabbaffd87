#include "worker/job.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "bus/streamer.h"
#include "bus/topics.h"
#include "worker/answer.h"
#include "worker/kinds.h"

/* What every message about its record says. Labels are lent: to be taken back before result_clear(). */
static void fill_record(const struct job *job, struct result *result)
{
	answer_fill_origin(job->services->settings, &job->source.place, result);
	memcpy(result->id, job->task->id, sizeof(result->id));
	result->kind = job->task->kind;
	result->labels = job->task->labels;
	result->n_labels = job->task->n_labels;
}

static int encode_duplicate(const struct job *job, struct buf *out)
{
	struct result word;

	result_init(&word);
	word.event = RESULT_EVENT_DUPLICATE;
	fill_record(job, &word);
	(void)snprintf(word.same_as.topic, sizeof(word.same_as.topic), "%s", job->same_id_of.topic);
	word.same_as.partition = job->same_id_of.partition;
	word.same_as.offset = job->same_id_of.offset;
	return result_encode(&word, out);
}

static int encode_result(struct job *job, struct buf *out)
{
	struct result *result = &job->result;
	int r;

	fill_record(job, result);
	result->attempt = job->lease.attempt;
	result->token = job->lease.token;
	job->kind->fill_result(job, result);
	job_mark_timing(job, RESULT_TIMING_TOTAL, job->born_mono_ns);
	r = result_encode(result, out);
	result->labels = NULL;
	result->n_labels = 0;
	return r;
}

int job_encode_answer(struct job *job, struct buf *out)
{
	return job->end == JOB_END_SKIP ? encode_duplicate(job, out) : encode_result(job, out);
}

void job_stream_start(const struct job *job)
{
	cleanup_(buf_free) struct buf message = { 0 };
	struct result started;
	struct err err;

	result_init(&started);
	started.event = RESULT_EVENT_STARTED;
	fill_record(job, &started);
	started.attempt = job->lease.attempt;
	started.token = job->lease.token;
	if (result_encode(&started, &message) < 0 ||
	    streamer_send(job->services->streamer, job->services->topics->results, started.id, strlen(started.id), message.data,
			  message.len, NULL, &err) < 0)
		log_warn("job.start", "id=%s message=\"its start could not be told\"", started.id);
}
