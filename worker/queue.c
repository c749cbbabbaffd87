#include "worker/queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "worker/job_index.h"
#include "worker/outbox.h"
#include "worker/pool.h"
#include "worker/templates.h"

#define WAITING_MAX 1024 /* for others' leases: as many as a dead worker of that many slots left */
#define BACKLOG_MAX_BYTES (64u << 20) /* of answers that are not committed yet */

struct queue {
	struct queue_config config;
	const struct outbox *outbox; /* NULL until there is one */
	struct job_list held, waiting, running;
	struct queue_count count;
	uint64_t waiting_due_mono_ms; /* none of the waiting ones has its moment before */
	struct job_index *index;
	struct event *admit;
	uint64_t renewed_mono_ms; /* when leases were renewed */
	bool is_scan_due; /* all held ones are to be looked at, though there is no room */
	bool is_full;
};

/* The flag does not change while a job is held or waits. */
static size_t *count_of(struct queue *queue, const struct job *job)
{
	if (job->list == &queue->running)
		return &queue->count.running;
	return job->wait.is_for_lease ? &queue->count.waiting : &queue->count.held;
}

static void leave_list(struct queue *queue, struct job *job)
{
	TAILQ_REMOVE(job->list, job, link);
	(*count_of(queue, job))--;
	job->list = NULL;
}

static void join_list(struct queue *queue, struct job *job, struct job_list *list)
{
	if (job->list)
		leave_list(queue, job);
	TAILQ_INSERT_TAIL(list, job, link);
	job->list = list;
	(*count_of(queue, job))++;
}

static void hold(struct queue *queue, struct job *job)
{
	bool is_waiting = job->wait.is_for_lease;

	join_list(queue, job, is_waiting ? &queue->waiting : &queue->held);
	if (is_waiting && job->wait.not_before_mono_ms < queue->waiting_due_mono_ms)
		queue->waiting_due_mono_ms = job->wait.not_before_mono_ms;
	queue_ask_admission(queue);
}

static size_t backlog(const struct queue *queue)
{
	return queue->outbox ? outbox_backlog(queue->outbox) : 0;
}

/* Enough is at hand, or waits to be told. */
static bool is_at_limit(const struct queue *queue)
{
	return queue->count.held >= queue->config.held_max || queue->count.waiting >= WAITING_MAX ||
	       backlog(queue) >= BACKLOG_MAX_BYTES;
}

static bool has_room_again(const struct queue *queue)
{
	return queue->count.held <= queue->config.held_max / 2 && queue->count.waiting <= WAITING_MAX / 2 &&
	       backlog(queue) <= BACKLOG_MAX_BYTES / 2;
}

static void press_back(struct queue *queue)
{
	bool is_full = queue->is_full ? !has_room_again(queue) : is_at_limit(queue);

	if (is_full == queue->is_full)
		return;
	queue->is_full = is_full;
	queue->config.on_full(queue->config.ctx, is_full);
}

/* What waits for tasks gives way to one that finds no room. */
static bool reserve(struct queue *queue, const struct shape *shape, struct reservation *ret)
{
	struct task_flaw flaw;

	if (admission_ask(queue->config.admission, shape, ret, &flaw) == ADMISSION_VERDICT_ADMITTED) {
		pool_miss(queue->config.pool, shape);
		return true;
	}
	pool_make_room(queue->config.pool, shape);
	templates_give_way(queue->config.templates, shape);
	return false;
}

/* false: there is no room for it. */
static bool admit(struct queue *queue, struct job *job)
{
	struct reservation reservation;
	bool is_foregone = job_is_foregone(job), has_own;

	job_choose_shape(job);
	has_own = !is_foregone && !job_take_from_pool(job);
	if (has_own && !reserve(queue, &job->shape, &reservation))
		return false;
	join_list(queue, job, &queue->running);
	job_start(job, has_own ? &reservation : NULL);
	return true;
}

static bool is_due(const struct job *job, uint64_t now_mono_ms)
{
	return job->end == JOB_END_NONE && job->wait.not_before_mono_ms <= now_mono_ms;
}

/* Those whose moment has come go behind the held ones. */
static void wake_waiting(struct queue *queue, uint64_t now_mono_ms)
{
	struct job *job, *next;

	if (now_mono_ms < queue->waiting_due_mono_ms)
		return;
	queue->waiting_due_mono_ms = UINT64_MAX;
	for (job = TAILQ_FIRST(&queue->waiting); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (is_due(job, now_mono_ms))
			join_list(queue, job, &queue->held);
		else if (job->wait.not_before_mono_ms < queue->waiting_due_mono_ms)
			queue->waiting_due_mono_ms = job->wait.not_before_mono_ms;
	}
}

/* Once there is no room the rest need not be looked at, but for those that need none: they are found by the next tick. */
static void admit_held(struct queue *queue, uint64_t now_mono_ms)
{
	bool has_room = true, is_scan = queue->is_scan_due;
	struct job *job, *next;

	queue->is_scan_due = false;
	for (job = TAILQ_FIRST(&queue->held); job && (has_room || is_scan); job = next) {
		next = TAILQ_NEXT(job, link);
		if (!is_due(job, now_mono_ms) || !(has_room || job_is_foregone(job)))
			continue;
		if (!admit(queue, job) && !job->wait.is_for_lease)
			has_room = false;
	}
}

static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	uint64_t now = clock_mono_ms();

	(void)fd, (void)what;
	wake_waiting(queue, now);
	admit_held(queue, now);
	press_back(queue);
}

void queue_ask_admission(struct queue *queue)
{
	event_active(queue->admit, EV_TIMEOUT, 0);
}

void queue_tick(struct queue *queue, uint64_t now_mono_ms)
{
	bool is_renewal_due = now_mono_ms - queue->renewed_mono_ms >= queue->config.lease_ms / 3;
	struct job *job;

	TAILQ_FOREACH(job, &queue->running, link) {
		if (is_renewal_due)
			job_lease_renew(job);
		job_tick(job, now_mono_ms);
	}
	if (is_renewal_due)
		queue->renewed_mono_ms = now_mono_ms;
	queue->is_scan_due = true;
	if (queue->count.held + queue->count.waiting)
		queue_ask_admission(queue);
}

void queue_add(struct queue *queue, struct job *job)
{
	job_index_add(queue->index, job);
	hold(queue, job);
}

/* What waits for its id need not wait any longer. */
static void wake_same_id(struct queue *queue, const struct job *job)
{
	struct job *other = NULL;

	while ((other = job_index_next(queue->index, job->task->id, other)))
		other->wait.not_before_mono_ms = queue->waiting_due_mono_ms = 0;
}

void queue_job_is_over(struct queue *queue, struct job *job)
{
	if (job->end == JOB_END_REQUEUE && queue->config.is_ours(queue->config.ctx, job)) {
		job_hold_again(job);
		hold(queue, job);
		return;
	}
	job_set_done(job);
	leave_list(queue, job);
	job_index_remove(job);
	wake_same_id(queue, job);
	job_free(job);
	queue_ask_admission(queue);
}

struct job *queue_next_of_id(struct queue *queue, const char *id, const struct job *after)
{
	return job_index_next(queue->index, id, after);
}

static void each(struct job_list *list, void (*visit)(void *ctx, struct job *job), void *ctx)
{
	struct job *job;

	TAILQ_FOREACH(job, list, link)
		visit(ctx, job);
}

void queue_each(struct queue *queue, void (*visit)(void *ctx, struct job *job), void *ctx)
{
	each(&queue->running, visit, ctx);
	each(&queue->held, visit, ctx);
	each(&queue->waiting, visit, ctx);
}

static void drop(void *ctx, struct job *job)
{
	job_drop(job, ctx);
}

void queue_drop_held(struct queue *queue, const char *why)
{
	each(&queue->held, drop, (void *)(uintptr_t)why);
	each(&queue->waiting, drop, (void *)(uintptr_t)why);
}

void queue_drop_all(struct queue *queue, const char *why)
{
	queue_each(queue, drop, (void *)(uintptr_t)why);
}

struct queue_count queue_count(const struct queue *queue)
{
	return queue->count;
}

void queue_set_outbox(struct queue *queue, const struct outbox *outbox)
{
	queue->outbox = outbox;
}

struct queue *queue_new(const struct queue_config *config)
{
	struct queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->config = *config;
	queue->waiting_due_mono_ms = UINT64_MAX;
	TAILQ_INIT(&queue->held);
	TAILQ_INIT(&queue->waiting);
	TAILQ_INIT(&queue->running);
	queue->index = job_index_new();
	queue->admit = event_new(config->base, -1, 0, on_admit, queue);
	if (queue->index && queue->admit)
		return queue;
	queue_free(queue);
	return NULL;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	assert(queue->count.held + queue->count.waiting + queue->count.running == 0);
	if (queue->admit)
		event_free(queue->admit);
	job_index_free(queue->index);
	free(queue);
}
