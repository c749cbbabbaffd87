/* Intake: a Kafka record becomes a held job, or an answer that says why not.
 *
 * It takes what the consumer delivers, partition by partition, and knows what of that was seen before: an offset is received once
 * (worker/partitions.h). What is no task is answered at once and goes to the dead letters; it never becomes a job. A task goes to the
 * queue, marked with what is known about it already: cancelled, impossible on this host, sent again. After close nothing is taken. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/consumer.h"
#include "worker/job.h"

struct intake;
struct partitions;
struct queue;

struct intake_config {
	const struct job_services *services; /* of the jobs that are made. All are lent */
	struct queue *queue;
	struct partitions *partitions;
	void (*on_fatal)(void *ctx, const char *why); /* this worker cannot go on */
	void *ctx;
};

struct intake *intake_new(const struct intake_config *config); /* NULL: out of memory */
void intake_set_consumer(struct intake *intake, struct consumer *consumer); /* before its first event */
void intake_tick(struct intake *intake); /* partitions that may go on */
void intake_close(struct intake *intake);
void intake_free(struct intake *intake); /* accepts NULL */

/* The consumer's events (bus/consumer.h), and the control topic's messages; ctx is the intake. */
extern const struct consumer_events intake_events;
void intake_control(void *ctx, const uint8_t *data, size_t len);

/* A transaction is about to be made, and later: the result of `job` is committed. Records of its id that were sent before it could be
 * seen are the same task again, or a mistake. */
void intake_plan(struct intake *intake);
void intake_job_is_told(struct intake *intake, const struct job *job);

/* Does its partition still belong to this worker, without a break? */
bool intake_is_ours(const struct intake *intake, const struct job *job);
