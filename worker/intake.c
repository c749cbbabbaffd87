#include "worker/intake.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/lease.h"
#include "bus/topics.h"
#include "worker/answer.h"
#include "worker/cancelled.h"
#include "worker/content.h"
#include "worker/dead_letter.h"
#include "worker/finished.h"
#include "worker/outbox.h"
#include "worker/partitions.h"
#include "worker/queue.h"
#include "worker/settings.h"

struct intake {
	struct intake_config config;
	const struct job_services *services;
	struct queue *queue;
	struct partitions *partitions;
	struct consumer *consumer; /* NULL until there is one */
	struct finished *finished;
	struct cancelled *cancelled; /* ids whose task may still come */
	uint64_t n_arrived;	  /* tasks so far */
	uint64_t arrived_at_plan; /* when the last transaction was planned: those came before its results could be seen */
	uint64_t n_lost_records;  /* that Kafka deleted before they were done */
	bool is_closed;
};

static void __attribute__((format(printf, 2, 3))) die(struct intake *intake, const char *format, ...)
{
	char why[900];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why, sizeof(why), format, ap); /* cut at its size */
	va_end(ap);
	intake->config.on_fatal(intake->config.ctx, why);
}

static void on_flaw_told(void *ctx, bool is_told)
{
	(void)is_told;
	queue_ask_admission(((struct intake *)ctx)->queue); /* there may be room again */
}

/* A task has, or had when it was sent, the id that somebody wrote into a record that is none: the answer is not to be taken for its
 * result. */
static bool is_id_of_another(struct intake *intake, const char *id, const struct record_place *place)
{
	return id[0] && (queue_next_of_id(intake->queue, id, NULL) ||
			 finished_find(intake->finished, id, place));
}

static int tell_flaw(struct intake *intake, const struct outbox_source *source, const struct consumer_record *record,
		     const struct result *result)
{
	cleanup_free struct dead_letter *letter = dead_letter_new(record);
	struct outbox_message messages[2] = { { .topic = intake->services->topics->results,
						.key = result->id,
						.key_len = strlen(result->id),
						.on_refusal = OUTBOX_REFUSAL_SHORTEN } };
	int r = letter ? result_encode(result, &messages[0].data) : -ENOMEM;

	if (r == 0)
		r = dead_letter_message(letter, intake->services->topics->dead, &source->place, &messages[1]);
	if (r == 0)
		r = outbox_add(intake->services->outbox, source, messages, 2, NULL, on_flaw_told, intake);
	outbox_message_clear(&messages[0]);
	outbox_message_clear(&messages[1]);
	return r;
}

/* A record that is no task: it never becomes a job and has no lease; it is answered and goes to the dead letters. */
static void answer_flaw(struct intake *intake, const struct partition *partition, const struct consumer_record *record,
			const struct task_flaw *flaw)
{
	const struct outbox_source source = { record->place, partition->epoch };
	struct result result;

	result_init(&result);
	result.event = is_id_of_another(intake, flaw->id, &source.place) ? RESULT_EVENT_REFUSED : RESULT_EVENT_FINISHED;
	result.outcome = RESULT_OUTCOME_REJECTED;
	result.ran = RESULT_RAN_NOT_STARTED;
	(void)snprintf(result.id, sizeof(result.id), "%s", flaw->id);
	(void)snprintf(result.field, sizeof(result.field), "%s", flaw->field);
	(void)snprintf(result.message, sizeof(result.message), "%s%s%s", flaw->field, flaw->field[0] ? ": " : "", flaw->message); /* cut at its size */
	answer_fill_origin(intake->services->settings, &source.place, &result);
	if (tell_flaw(intake, &source, record, &result) < 0)
		die(intake, "out of memory for the answer to a bad record");
	queue_ask_admission(intake->queue);
	log_info("intake.rejected", "topic=%s partition=%d offset=%lld field=\"%s\" message=\"%s\"", record->place.topic,
		 record->place.partition, (long long)record->place.offset, flaw->field, flaw->message);
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

	job->source.created_wall_ms = creation(job->task, record, now);
	ends = job->source.created_wall_ms + job->task->queue_ms;
	if (job->task->queue_ms)
		job->wait.queue_ends_mono_ms = clock_mono_ms() + (ends > now ? ends - now : 0);
}

/* Sent while a task of its id lived, that is over by now? */
static void compare_with_finished(const struct intake *intake, struct job *job)
{
	const struct finished_task *task = finished_find(intake->finished, job->task->id, &job->source.place);

	if (task)
		job_set_same_id(job, task->content, &task->place);
}

static void hold(struct intake *intake, const struct partition *partition, const struct consumer_record *record, struct task *task)
{
	struct job *job = job_new(intake->services, task, record);
	struct shape shape = admission_shape_of(task);
	uint64_t now = clock_wall_ms();
	struct task_flaw flaw;

	if (!job || content_of(task, job->source.content) < 0) {
		if (!job)
			task_free(task);
		job_free(job);
		die(intake, "out of memory for a job");
		return;
	}
	job->source.epoch = partition->epoch;
	job->source.arrival = ++intake->n_arrived;
	job->lease.is_in_doubt = record->place.offset < partition->doubt_end;
	job->lease.redis_epoch = leases_connections(intake->services->leases);
	compare_with_finished(intake, job);
	start_waiting(job, record, now);
	job->wait.is_cancelled = cancelled_has(intake->cancelled, task->id, job->source.created_wall_ms);
	job->wait.is_impossible = !admission_is_possible(intake->services->admission, &shape, &flaw);
	if (record->time_ms > 0 && (uint64_t)record->time_ms <= now)
		job->result.timings_ms[RESULT_TIMING_QUEUED] = (int64_t)(now - (uint64_t)record->time_ms);
	queue_add(intake->queue, job);
}

/* What is below the committed offset is answered, or was; what comes after it is not there. Only a person can say from where
 * to go on. */
static void die_of_lost_records(struct intake *intake, const struct partition *partition, int64_t asked, int64_t offset)
{
	die(intake, "partition %d of '%s' has lost records: %lld was asked for, %lld came; see which tasks are missing and reset the offsets "
	    "of group '%s'", partition->id, partition->topic, (long long)asked, (long long)offset,
	    intake->services->settings->fleet.group);
}

/* Retention (or a person) deleted records that were not done. That cannot be mended here; it is told, and the work goes on. */
static void tell_loss(struct intake *intake, const struct partition *partition, const struct partition_loss *loss)
{
	struct outbox_message message = { 0 };

	intake->n_lost_records += loss->records;
	log_error("intake.lost", "topic=%s partition=%d first=%lld last=%lld records=%llu group=%s lost_since_start=%llu "
		  "message=\"Kafka deleted records that were not done: their tasks get no result; the range is told on '%s'; look at "
		  "retention.ms and retention.bytes of '%s', and have what was in it sent again\"",
		  partition->topic, partition->id, (long long)loss->first, (long long)loss->last,
		  (unsigned long long)loss->records, intake->services->settings->fleet.group, (unsigned long long)intake->n_lost_records,
		  intake->services->topics->dead, partition->topic);
	if (dead_letter_loss(partition, loss, intake->services->topics->dead, intake->services->settings->fleet.group, &message) < 0 ||
	    outbox_add_range(intake->services->outbox, &(struct outbox_source){ { partition->topic, partition->id, loss->from },
								      partition->epoch }, loss->to, &message, 1) < 0)
		die(intake, "out of memory for a range of lost records");
	outbox_message_clear(&message);
}

static void come_back_later(struct intake *intake, struct partition *partition, int64_t offset)
{
	partition->is_paused = true;
	consumer_rewind(intake->consumer, &(struct record_place){ partition->topic, partition->id, offset });
}

/* `offset` is the first that can be read after its partition could not be. May it be received? */
static bool is_in_place(struct intake *intake, struct partition *partition, int64_t offset)
{
	struct partition_loss loss;

	switch (partition_find_place(partition, offset, &loss)) {
	case PARTITION_PLACE_FOUND:
		return true;
	case PARTITION_PLACE_LOSS:
		tell_loss(intake, partition, &loss);
		come_back_later(intake, partition, offset);
		return false;
	case PARTITION_PLACE_LATER:
		come_back_later(intake, partition, offset);
		return false;
	case PARTITION_PLACE_BELOW:
		die_of_lost_records(intake, partition, partition->unreadable, offset);
		return false;
	case PARTITION_PLACE_COUNT:
		break;
	}
	assert(false);
	return false;
}

static void on_end(void *ctx, const struct record_place *end)
{
	struct intake *intake = ctx;
	struct partition *partition = partitions_find(intake->partitions, end->topic, end->partition);

	if (!partition || intake->is_closed || partition->is_paused)
		return;
	if (end->offset < partition->unreadable)
		log_warn("intake.end", "topic=%s partition=%d message=\"it ends at %lld, but %lld was asked for: was the topic made anew?\"",
			 end->topic, end->partition, (long long)end->offset, (long long)partition->unreadable);
	else if (is_in_place(intake, partition, end->offset))
		partition->log_end = end->offset;
}

/* What is in the log when we look first was sent before; when that is not known, at least this record was. */
static int64_t end_of_doubt(const struct intake *intake, const struct partition *partition, const struct consumer_record *record)
{
	int64_t end = consumer_log_end(intake->consumer, partition->topic, partition->id);

	return end > record->place.offset ? end : record->place.offset + 1;
}

static void on_record(void *ctx, const struct consumer_record *record)
{
	struct intake *intake = ctx;
	struct partition *partition = partitions_find(intake->partitions, record->place.topic, record->place.partition);
	struct task *task = NULL;
	struct task_flaw flaw = { 0 };
	enum partition_receipt receipt;

	if (!partition || intake->is_closed)
		return; /* it will be delivered to whoever owns it next */
	if (partition->doubt_end < 0)
		partition->doubt_end = end_of_doubt(intake, partition, record);
	if (!is_in_place(intake, partition, record->place.offset))
		return;
	receipt = partition_receive(partition, record->place.offset);
	if (receipt == PARTITION_RECEIPT_NO_ROOM)
		come_back_later(intake, partition, record->place.offset);
	if (receipt == PARTITION_RECEIPT_BELOW)
		die_of_lost_records(intake, partition, partition->start, record->place.offset);
	if (receipt != PARTITION_RECEIPT_NEW)
		return;
	if (offsets_is_full(partition->offsets) && !partition->is_paused) {
		partition->is_paused = true;
		consumer_pause(intake->consumer, partition->topic, partition->id);
	}
	switch (task_decode(record->data, record->len, &task, &flaw)) {
	case TASK_VERDICT_OK:
		hold(intake, partition, record, task);
		return;
	case TASK_VERDICT_FLAWED:
		answer_flaw(intake, partition, record, &flaw);
		return;
	case TASK_VERDICT_NO_MEMORY:
	case TASK_VERDICT_COUNT:
		die(intake, "out of memory for a task");
	}
}

/* Others may have had what we hold, and a reaper may have told it. */
static void doubt(void *ctx, struct job *job)
{
	(void)ctx;
	job->lease.is_in_doubt = true;
}

static void drop_stranger(void *ctx, struct job *job)
{
	if (!intake_is_ours(ctx, job))
		job_drop(job, "its partition belongs to another worker now");
}

static void on_assigned(void *ctx, struct consumer_position *positions, size_t n)
{
	struct intake *intake = ctx;

	partitions_begin(intake->partitions);
	for (size_t i = 0; i < n; i++) {
		struct consumer_position *position = &positions[i];

		position->start = partitions_assign(intake->partitions, position->topic, position->partition, position->committed,
						    position->metadata, position->start);
		if (position->start == PARTITIONS_NO_MEMORY) {
			die(intake, "out of memory for a partition");
			return;
		}
	}
	partitions_end_assignment(intake->partitions);
	for (size_t i = 0; i < n; i++) {
		struct partition *partition = partitions_find(intake->partitions, positions[i].topic, positions[i].partition);

		if (partition && positions[i].unreadable >= 0 && partition_is_unreadable(partition, positions[i].unreadable))
			positions[i].start = CONSUMER_BEGINNING;
		if (partition && !partition->is_paused) /* the consumer keeps what was paused before somebody else had it */
			consumer_resume(intake->consumer, partition->topic, partition->id);
	}
	log_info("intake.assigned", "partitions=%zu", n);
	queue_each(intake->queue, doubt, NULL);
	queue_each(intake->queue, drop_stranger, intake);
	outbox_pump(intake->services->outbox);
}

static void on_revoked(void *ctx)
{
	struct intake *intake = ctx;

	partitions_suspend(intake->partitions);
	log_info("intake.revoked", "partitions=all");
}

static void on_fault(void *ctx, const struct err *err)
{
	die(ctx, "%s", err->msg);
}

const struct consumer_events intake_events = { on_record, on_assigned, on_revoked, on_end, on_fault };

/* The topic is read from its beginning at every start: a cancellation is not about a task that came after it. */
void intake_control(void *ctx, const uint8_t *data, size_t len)
{
	struct intake *intake = ctx;
	struct control control;
	struct job *job = NULL;
	char why[160];

	if (control_decode(data, len, &control, why) < 0) {
		log_warn("intake.control", "message=\"%s\"", why);
		return;
	}
	cancelled_add(intake->cancelled, control.cancel_id, control.created_ms);
	while ((job = queue_next_of_id(intake->queue, control.cancel_id, job)))
		if (job->source.created_wall_ms <= control.created_ms)
			job_cancel(job);
	queue_ask_admission(intake->queue);
}

/* --- what is sent again --- */

/* Before the result of `job` could be seen: it had come by then, or it was in the same log. */
static bool was_sent_before(const struct intake *intake, const struct job *other, const struct job *job, const struct partition *partition)
{
	return other->source.arrival <= intake->arrived_at_plan ||
	       (partition && record_place_is_same_log(&other->source.place, &job->source.place) &&
		other->source.place.offset < partition->end_at_plan);
}

static struct partition *partition_of(const struct intake *intake, const struct job *job)
{
	return partitions_find_epoch(intake->partitions, job->source.place.topic, job->source.place.partition, job->source.epoch);
}

void intake_job_is_told(struct intake *intake, const struct job *job)
{
	const struct partition *partition = partition_of(intake, job);
	struct job *other = NULL;

	if (job->end != JOB_END_TELL || job->result.event != RESULT_EVENT_FINISHED)
		return;
	while ((other = queue_next_of_id(intake->queue, job->task->id, other)))
		if (other != job && other->same_id == JOB_SAME_ID_NONE && was_sent_before(intake, other, job, partition))
			job_set_same_id(other, job->source.content, &job->source.place);
	if (partition && partition->end_at_plan > partition->next_received)
		finished_add(intake->finished, job->task->id, job->source.content, &job->source.place, partition->end_at_plan);
}

void intake_plan(struct intake *intake)
{
	struct partition *partition;
	size_t cursor = 0;

	intake->arrived_at_plan = intake->n_arrived;
	while ((partition = partitions_next(intake->partitions, &cursor)))
		partition->end_at_plan = consumer_log_end(intake->consumer, partition->topic, partition->id);
}

bool intake_is_ours(const struct intake *intake, const struct job *job)
{
	return partition_of(intake, job);
}

/* --- its life --- */

static void end_tail(struct intake *intake, struct partition *partition)
{
	struct outbox_source source = { { partition->topic, partition->id, 0 }, partition->epoch };
	int64_t to;

	if (partitions_are_suspended(intake->partitions) || !partition_has_tail(partition, &source.place.offset, &to))
		return;
	partition->log_end = 0;
	if (outbox_add_range(intake->services->outbox, &source, to, NULL, 0) < 0)
		die(intake, "out of memory for the end of a partition");
}

void intake_tick(struct intake *intake)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(intake->partitions, &cursor))) {
		end_tail(intake, partition);
		if (!partition->is_paused || partition->is_losing || offsets_is_full(partition->offsets))
			continue;
		partition->is_paused = false;
		consumer_resume(intake->consumer, partition->topic, partition->id);
	}
}

void intake_set_consumer(struct intake *intake, struct consumer *consumer)
{
	intake->consumer = consumer;
}

void intake_close(struct intake *intake)
{
	intake->is_closed = true;
}

struct intake *intake_new(const struct intake_config *config)
{
	struct intake *intake = calloc(1, sizeof(*intake));

	if (!intake)
		return NULL;
	intake->config = *config;
	intake->services = config->services;
	intake->queue = config->queue;
	intake->partitions = config->partitions;
	intake->finished = finished_new();
	intake->cancelled = cancelled_new();
	if (intake->finished && intake->cancelled)
		return intake;
	intake_free(intake);
	return NULL;
}

void intake_free(struct intake *intake)
{
	if (!intake)
		return;
	finished_free(intake->finished);
	cancelled_free(intake->cancelled);
	free(intake);
}
