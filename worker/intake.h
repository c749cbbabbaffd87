/* Intake: a Kafka record becomes a held job, or an answer that says why not. */
#pragma once

#include "worker/engine.h"

/* The consumer's events (bus/consumer.h); ctx is the engine. */
extern const struct consumer_events intake_events;

/* The control topic's messages; ctx is the engine. */
void intake_control(void *ctx, const uint8_t *data, size_t len);

/* Why a job that has not started need not start: its end is certain (expired, cancelled, impossible here). It still claims
 * its lease first, so that nobody else answers for the record. */
bool intake_is_foregone(const struct job *job);
void intake_tell_foregone(struct job *job);
