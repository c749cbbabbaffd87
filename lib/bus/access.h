/* Does the cluster let us in, and may we do there what we have to? Asked when a daemon starts and when a command begins, so that a
 * refusal is one sentence and an end, not a loop of librdkafka's. Blocking.
 *
 * ERR_INPUT is a refusal: who we are (TLS, SASL) or what we may do (ACLs) has to be mended by a person. ERR_HOST: there was no
 * answer in time. What is taken away from a process that runs is told by the call that fails. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define ACCESS_EXIT_REFUSED 4 /* exit status of a daemon that was refused: starting it again would not help */

bool access_is_refusal(rd_kafka_resp_err_t code);

/* Ask for metadata of `topic` (NULL: of none) until there is an answer. Error events are taken from `queue`, the handle's main
 * one; events of other kinds in it are lost, so nothing may have been sent yet. `*ret` is rd_kafka_metadata_destroy()ed. */
int access_ask(rd_kafka_t *kafka, rd_kafka_queue_t *queue, rd_kafka_topic_t *topic, unsigned timeout_ms,
	       const struct rd_kafka_metadata **ret, struct err *err);

#define ACCESS_TOPICS_MAX 8

struct access_needs {
	const char *brokers;
	const char *const *reads, *const *writes; /* topics */
	size_t n_reads, n_writes;
	const char *const *groups; /* whose committed offsets of reads[0] are looked at; the last writes its own in a transaction */
	size_t n_groups;
	const char *transactional_id; /* results are written in its transactions */
};

/* Only the connection: within `patience_ms`. */
int access_reach(const char *brokers, unsigned patience_ms, struct err *err);

/* All of it, of topics that exist; without the first of those that are read there is nothing to ask. The transaction is aborted before a record is sent. */
int access_check(const struct access_needs *needs, unsigned timeout_ms, struct err *err);
