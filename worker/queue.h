/* The queue: the jobs of this worker, from intake until they are over.
 *
 *	held     could run, and wait for room
 *	waiting  for somebody else's lease on their record or id to end: they take no place of what could run
 *	running  left the hold; in whatever state, until they are over
 *
 * Admission goes through the held ones in their order: one that waits for room is overtaken only by those that need none. A waiting one
 * whose moment has come stands behind them; there it still counts as waiting, and when there is no room for it, it holds up nobody.
 * Full means that no new records are wanted; with room between the two marks, so that it does not flutter. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/job.h"

struct outbox;
struct queue;
struct templates;

struct queue_config {
	struct event_base *base;
	struct admission *admission;
	struct pool *pool; /* NULL: there is none */
	struct templates *templates; /* likewise */
	size_t held_max;	     /* held ones that make it full */
	uint64_t lease_ms;	     /* leases are renewed three times as often */
	void (*on_full)(void *ctx, bool is_full);
	/* A job is over. Is its record still this worker's, for another try? */
	bool (*is_ours)(void *ctx, const struct job *job);
	void *ctx;
};

struct queue *queue_new(const struct queue_config *config); /* NULL: out of memory */
void queue_set_outbox(struct queue *queue, const struct outbox *outbox); /* its backlog counts, too. Borrowed */

/* Takes the job. */
void queue_add(struct queue *queue, struct job *job);

/* Room may have come, or something to do. */
void queue_ask_admission(struct queue *queue);
void queue_tick(struct queue *queue, uint64_t now_mono_ms);

/* From a job: as of job_services.on_over. */
void queue_job_is_over(struct queue *queue, struct job *job);

/* Visit those of this id, or all: from NULL to NULL. */
struct job *queue_next_of_id(struct queue *queue, const char *id, const struct job *after);
void queue_each(struct queue *queue, void (*visit)(void *ctx, struct job *job), void *ctx);
void queue_drop_held(struct queue *queue, const char *why);
void queue_drop_all(struct queue *queue, const char *why);

struct queue_count {
	size_t held, waiting, running;
};

struct queue_count queue_count(const struct queue *queue);
void queue_free(struct queue *queue); /* accepts NULL; only an empty one */
