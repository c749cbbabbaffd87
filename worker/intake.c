#include "worker/intake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "worker/content.h"

static void on_flaw_told(void *ctx, bool is_told)
{
	(void)is_told;
	engine_ask_admission(ctx); /* there may be room again */
}

/* A task has, or had when it was sent, the id that somebody wrote into a record that is none: the answer is not to be taken for its
 * result. */
static bool is_id_of_another(struct engine *engine, const char *id, const struct record_place *place)
{
	return id[0] && (job_index_next(engine->index, id, NULL) ||
			 finished_find(engine->finished, id, place));
}

static int tell_flaw(struct engine *engine, const struct outbox_source *source, const struct consumer_record *record,
		     const struct result *result)
{
	cleanup_free struct dead_letter *letter = dead_letter_new(record);
	struct outbox_message messages[2] = { { .topic = engine->topics.results,
						.key = result->id,
						.key_len = strlen(result->id),
						.on_refusal = OUTBOX_REFUSAL_SHORTEN } };
	int r = letter ? result_encode(result, &messages[0].data) : -ENOMEM;

	if (r == 0)
		r = dead_letter_message(letter, engine->topics.dead, &source->place, &messages[1]);
	if (r == 0)
		r = outbox_add(engine->outbox, source, messages, 2, NULL, on_flaw_told, engine);
	outbox_message_clear(&messages[0]);
	outbox_message_clear(&messages[1]);
	return r;
}

/* A record that is no task: it never becomes a job and has no lease; it is answered and goes to the dead letters. */
static void answer_flaw(struct engine *engine, const struct partition *partition, const struct consumer_record *record,
			const struct task_flaw *flaw)
{
	const struct outbox_source source = { record->place, partition->epoch };
	struct result result;

	result_init(&result);
	result.event = is_id_of_another(engine, flaw->id, &source.place) ? RESULT_EVENT_REFUSED : RESULT_EVENT_FINISHED;
	result.outcome = RESULT_OUTCOME_REJECTED;
	result.ran = RESULT_RAN_NOT_STARTED;
	(void)snprintf(result.id, sizeof(result.id), "%s", flaw->id);
	(void)snprintf(result.field, sizeof(result.field), "%s", flaw->field);
	(void)snprintf(result.message, sizeof(result.message), "%s%s%s", flaw->field, flaw->field[0] ? ": " : "", flaw->message); /* cut at its size */
	engine_fill_origin(engine, &record->place, &result);
	result.finished_ms = clock_wall_ms();
	if (tell_flaw(engine, &source, record, &result) < 0)
		engine_die(engine, "out of memory for the answer to a bad record");
	engine_ask_admission(engine);
	log_info("intake.rejected", "topic=%s partition=%d offset=%lld field=\"%s\" message=\"%s\"", record->place.topic, record->place.partition,
		 (long long)record->place.offset, flaw->field, flaw->message);
}

/* The sender's clock may be ahead: nothing was made later than now. */
static uint64_t creation(const struct task *task, const struct consumer_record *record, uint64_t now)
{
	uint64_t created = task->created_ms ? task->created_ms : record->time_ms > 0 ? (uint64_t)record->time_ms : now;

	return created < now ? created : now;
}

/* A step of the clock ends nothing: what is left of queue_ms is counted on the monotonic one. */
static void start_waiting(struct job *job, const struct consumer_record *record, uint64_t now)
{
	uint64_t ends;

	job->created_wall_ms = creation(job->task, record, now);
	ends = job->created_wall_ms + job->task->queue_ms;
	if (job->task->queue_ms)
		job->queue_ends_mono_ms = clock_mono_ms() + (ends > now ? ends - now : 0);
}

/* Sent while a task of its id lived, that is over by now? */
static void compare_with_finished(const struct engine *engine, struct job *job)
{
	const struct finished_task *task = finished_find(engine->finished, job->task->id, &job->place);

	if (task)
		job_set_twin(job, task->content, &task->place);
}

static void hold(struct engine *engine, const struct partition *partition, const struct consumer_record *record,
		 struct task *task)
{
	struct job *job = job_new(engine, task, record);
	uint64_t now = clock_wall_ms();
	struct task_flaw flaw;

	if (!job || content_of(task, job->content) < 0) {
		if (!job)
			task_free(task);
		job_free(job);
		engine_die(engine, "out of memory for a job");
		return;
	}
	job->place = record->place;
	job->epoch = partition->epoch;
	job->arrival = ++engine->n_arrived;
	job->is_in_doubt = record->place.offset < partition->doubt_end;
	job->redis_epoch = leases_connections(engine->leases);
	compare_with_finished(engine, job);
	start_waiting(job, record, now);
	job->is_cancelled = cancelled_has(engine->cancelled, task->id, job->created_wall_ms);
	job->is_impossible = !admission_is_possible(engine->admission, task, &flaw);
	if (record->time_ms > 0 && (uint64_t)record->time_ms <= now)
		job->result.timings_ms[RESULT_TIMING_QUEUED] = (int64_t)(now - (uint64_t)record->time_ms);
	job_index_add(engine->index, job);
	engine_job_enters_held(engine, job);
}

/* What is below the committed offset is answered, or was; what comes after it is not there. Only a person can say from where
 * to go on. */
static void die_of_lost_records(struct engine *engine, const struct partition *partition, int64_t asked, int64_t offset)
{
	char why[900];

	(void)snprintf(why, sizeof(why),
		       "partition %d of '%s' has lost records: %lld was asked for, %lld came; see which tasks are missing and reset the "
		       "offsets of group '%s'",
		       partition->id, partition->topic, (long long)asked, (long long)offset, engine->settings->fleet.group);
	engine_die(engine, why);
}

/* Retention (or a person) deleted records that were not done. That cannot be mended here; it is told, and the work goes on. */
static void tell_loss(struct engine *engine, const struct partition *partition, const struct partition_loss *loss)
{
	struct outbox_message message = { 0 };

	engine->n_lost_records += loss->records;
	log_error("intake.lost", "topic=%s partition=%d first=%lld last=%lld records=%llu group=%s lost_since_start=%llu "
		  "message=\"Kafka deleted records that were not done: their tasks get no result; the range is told on '%s'; look at "
		  "retention.ms and retention.bytes of '%s', and have what was in it sent again\"",
		  partition->topic, partition->id, (long long)loss->first, (long long)loss->last,
		  (unsigned long long)loss->records, engine->settings->fleet.group, (unsigned long long)engine->n_lost_records,
		  engine->topics.dead, partition->topic);
	if (dead_letter_loss(partition, loss, engine->topics.dead, engine->settings->fleet.group, &message) < 0 ||
	    outbox_add_range(engine->outbox, &(struct outbox_source){ { partition->topic, partition->id, loss->from },
								      partition->epoch }, loss->to, &message, 1) < 0)
		engine_die(engine, "out of memory for a range of lost records");
	outbox_message_clear(&message);
}

static void come_back_later(struct engine *engine, struct partition *partition, int64_t offset)
{
	partition->is_paused = true;
	consumer_rewind(engine->consumer, &(struct record_place){ partition->topic, partition->id, offset });
}

/* `offset` is the first that can be read after its partition could not be. May it be received? */
static bool is_in_place(struct engine *engine, struct partition *partition, int64_t offset)
{
	struct partition_loss loss;

	switch (partition_find_place(partition, offset, &loss)) {
	case PARTITION_PLACE_FOUND:
		return true;
	case PARTITION_PLACE_LOSS:
		tell_loss(engine, partition, &loss);
		come_back_later(engine, partition, offset);
		return false;
	case PARTITION_PLACE_LATER:
		come_back_later(engine, partition, offset);
		return false;
	case PARTITION_PLACE_BELOW:
		die_of_lost_records(engine, partition, partition->unreadable, offset);
		return false;
	case PARTITION_PLACE_COUNT:
		break;
	}
	assert(false);
	return false;
}

static void on_end(void *ctx, const struct record_place *end)
{
	struct engine *engine = ctx;
	struct partition *partition = partitions_find(engine->partitions, end->topic, end->partition);

	if (!partition || engine->drain_mono_ms || partition->is_paused)
		return;
	if (end->offset < partition->unreadable)
		log_warn("intake.end", "topic=%s partition=%d message=\"it ends at %lld, but %lld was asked for: was the topic made anew?\"",
			 end->topic, end->partition, (long long)end->offset, (long long)partition->unreadable);
	else if (is_in_place(engine, partition, end->offset))
		partition->log_end = end->offset;
}

/* What is in the log when we look first was sent before; when that is not known, at least this record was. */
static int64_t end_of_doubt(const struct engine *engine, const struct partition *partition, const struct consumer_record *record)
{
	int64_t end = consumer_log_end(engine->consumer, partition->topic, partition->id);

	return end > record->place.offset ? end : record->place.offset + 1;
}

static void on_record(void *ctx, const struct consumer_record *record)
{
	struct engine *engine = ctx;
	struct partition *partition = partitions_find(engine->partitions, record->place.topic, record->place.partition);
	struct task *task = NULL;
	struct task_flaw flaw = { 0 };
	enum partition_receipt receipt;

	if (!partition || engine->drain_mono_ms)
		return; /* it will be delivered to whoever owns it next */
	if (partition->doubt_end < 0)
		partition->doubt_end = end_of_doubt(engine, partition, record);
	if (!is_in_place(engine, partition, record->place.offset))
		return;
	receipt = partition_receive(partition, record->place.offset);
	if (receipt == PARTITION_RECEIPT_NO_ROOM)
		come_back_later(engine, partition, record->place.offset);
	if (receipt == PARTITION_RECEIPT_BELOW)
		die_of_lost_records(engine, partition, partition->start, record->place.offset);
	if (receipt != PARTITION_RECEIPT_NEW)
		return;
	if (offsets_is_full(partition->offsets) && !partition->is_paused) {
		partition->is_paused = true;
		consumer_pause(engine->consumer, partition->topic, partition->id);
	}
	switch (task_decode(record->data, record->len, &task, &flaw)) {
	case TASK_VERDICT_OK:
		hold(engine, partition, record, task);
		return;
	case TASK_VERDICT_FLAWED:
		answer_flaw(engine, partition, record, &flaw);
		return;
	case TASK_VERDICT_NO_MEMORY:
	case TASK_VERDICT_COUNT:
		engine_die(engine, "out of memory for a task");
	}
}

static void drop_strangers(struct engine *engine, struct job_list *list)
{
	struct job *job, *next;

	for (job = TAILQ_FIRST(list); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (!partitions_find_epoch(engine->partitions, job->place.topic, job->place.partition, job->epoch))
			job_drop(job, "its partition belongs to another worker now");
	}
}

/* Others may have had what we hold, and a reaper may have told it. */
static void doubt_all(struct job_list *list)
{
	struct job *job;

	TAILQ_FOREACH(job, list, link)
		job->is_in_doubt = true;
}

static void on_assigned(void *ctx, struct consumer_position *positions, size_t n)
{
	struct engine *engine = ctx;

	partitions_begin(engine->partitions);
	for (size_t i = 0; i < n; i++) {
		struct consumer_position *position = &positions[i];

		position->start = partitions_assign(engine->partitions, position->topic, position->partition, position->committed,
						    position->metadata, position->start);
		if (position->start == PARTITIONS_NO_MEMORY) {
			engine_die(engine, "out of memory for a partition");
			return;
		}
	}
	partitions_end_assignment(engine->partitions);
	for (size_t i = 0; i < n; i++) {
		struct partition *partition = partitions_find(engine->partitions, positions[i].topic, positions[i].partition);

		if (partition && positions[i].unreadable >= 0 && partition_is_unreadable(partition, positions[i].unreadable))
			positions[i].start = CONSUMER_BEGINNING;
		if (partition && !partition->is_paused) /* the consumer keeps what was paused before somebody else had it */
			consumer_resume(engine->consumer, partition->topic, partition->id);
	}
	log_info("intake.assigned", "partitions=%zu", n);
	doubt_all(&engine->held);
	doubt_all(&engine->active);
	drop_strangers(engine, &engine->active);
	drop_strangers(engine, &engine->held);
	outbox_pump(engine->outbox);
}

static void on_revoked(void *ctx)
{
	struct engine *engine = ctx;

	partitions_suspend(engine->partitions);
	log_info("intake.revoked", "partitions=all");
}

static void on_fault(void *ctx, const struct err *err)
{
	engine_die(ctx, err->msg);
}

const struct consumer_events intake_events = { on_record, on_assigned, on_revoked, on_end, on_fault };

/* The topic is read from its beginning at every start: a cancellation is not about a task that came after it. */
static void cancel_all(struct job_index *index, const char *id, uint64_t created_ms)
{
	struct job *job = NULL;

	while ((job = job_index_next(index, id, job))) {
		if (job->created_wall_ms > created_ms)
			continue;
		job->is_cancelled = true;
		if (job->stages[STAGE_LEASE] == STAGE_READY)
			job_tell(job, RESULT_OUTCOME_CANCELLED,
				 job_has_run(job) ? RESULT_RAN_RAN : RESULT_RAN_NOT_STARTED, "cancelled by its sender");
	}
}

void intake_control(void *ctx, const uint8_t *data, size_t len)
{
	struct engine *engine = ctx;
	struct control control;
	char why[160];

	if (control_decode(data, len, &control, why) < 0) {
		log_warn("intake.control", "message=\"%s\"", why);
		return;
	}
	cancelled_add(engine->cancelled, control.cancel_id, control.created_ms);
	cancel_all(engine->index, control.cancel_id, control.created_ms);
	engine_ask_admission(engine);
}

bool intake_is_foregone(const struct job *job)
{
	bool is_late = job->queue_ends_mono_ms && clock_mono_ms() >= job->queue_ends_mono_ms;

	return job->twin != JOB_TWIN_NONE || job->is_cancelled || job->is_impossible || is_late;
}

void intake_tell_foregone(struct job *job)
{
	struct task_flaw flaw;

	if (job->twin == JOB_TWIN_DUPLICATE)
		job_share(job);
	else if (job->twin == JOB_TWIN_CONFLICT)
		job_refuse(job);
	else if (job->is_cancelled)
		job_tell(job, RESULT_OUTCOME_CANCELLED, RESULT_RAN_NOT_STARTED, "cancelled by its sender");
	else if (!admission_is_possible(job->engine->admission, job->task, &flaw))
		job_reject(job, flaw.field, flaw.message);
	else
		job_tell_queue_over(job);
}
