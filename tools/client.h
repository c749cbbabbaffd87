/* Kafka as a sender of tasks sees it: an idempotent producer whose every record is answered for, and a reader of results and
 * output outside any group (read_committed). One thread, one poll(2): client_turn() waits and hands out what came. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"
#include "tools/target.h"

struct client;

enum client_topic {
	CLIENT_TOPIC_TASKS,
	CLIENT_TOPIC_CONTROL,
	CLIENT_TOPIC_RESULTS,
	CLIENT_TOPIC_OUTPUT,
	CLIENT_TOPIC_COUNT
};

struct client_delivery {
	void *opaque;
	int32_t partition;
	int64_t offset;
	const char *why; /* NULL: it is in Kafka, and only then partition and offset are known; borrowed during the call */
};

struct client_record {
	enum client_topic topic;
	int64_t time_ms;     /* Kafka's, 0 when unknown */
	int32_t partition;
	int64_t offset;
	const char *key; /* not NUL-terminated; key and data are borrowed during the call */
	size_t key_len;
	const uint8_t *data;
	size_t len;
};

/* Is the record about this task? Its key says so: every record of ours has the task's id for its key. */
bool client_record_has_key(const struct client_record *record, const char *id);

/* Each may be NULL: who sends nothing is told of no delivery, who follows nothing gets no record. */
struct client_events {
	void (*on_delivered)(void *ctx, const struct client_delivery *delivery);
	void (*on_record)(void *ctx, const struct client_record *record);
};

/* Makes no connection yet. `events` may be NULL, too. */
int client_new(const struct target *target, const struct client_events *events, void *ctx, struct client **ret,
	       struct err *err);

enum client_from { CLIENT_FROM_NOW, CLIENT_FROM_BEGINNING };

/* From that time on no call waits any longer. 0: each waits as long as it takes. */
void client_until(struct client *client, uint64_t deadline_mono_ms);

/* Read these topics. With CLIENT_FROM_NOW nothing is missed that is written after this call. Once per client. ERR_HOST:
 * Kafka does not answer, or a topic does not exist. */
int client_follow(struct client *client, const enum client_topic *topics, size_t n, enum client_from from,
		  struct err *err);

/* Part of one partition. */
struct client_range {
	enum client_topic topic;
	int32_t partition;
	int64_t from, to; /* offsets; `to` is beyond it */
};

/* How many partitions a topic has. ERR_HOST when Kafka does not answer or the topic does not exist. */
int client_partitions(struct client *client, enum client_topic topic, int *ret_n, struct err *err);

/* The partition of a record with this id for its key, in a topic of `n` partitions. */
int32_t client_partition_of(const char *id, int n);

/* All that is in a partition now. */
int client_range(struct client *client, enum client_topic topic, int32_t partition, struct client_range *ret,
		 struct err *err);

/* The offset of the first record of that time or later; -1 when all are older. */
int client_offset_at(struct client *client, const struct client_range *range, int64_t time_ms, int64_t *ret,
		     struct err *err);

/* Reads the range once and returns when on_record() has seen all that is committed in it. Before any client_follow(), not
 * after one. */
int client_read(struct client *client, const struct client_range *range,
		void (*on_record)(void *ctx, const struct client_record *record), void *ctx, struct err *err);

/* As client_follow(), but each partition from its `from` on. `to` means nothing here. */
int client_follow_ranges(struct client *client, const struct client_range *ranges, size_t n, struct err *err);

/* Ask Kafka for a topic that records are to be sent to, so that client_send() need not ask and wait. ERR_HOST as there. */
int client_know(struct client *client, enum client_topic topic, struct err *err);

/* Copies key and data. Waits for room in the producer's queue, with client_turn(). 0: on_delivered() will come for the
 * record, once, also when sending it fails later. ERR_HOST: there is no such topic, or Kafka did not answer or had no
 * room until the time of client_until(); on_delivered() will not come. */
int client_send(struct client *client, enum client_topic topic, const char *key, size_t key_len, const void *data,
		size_t len, void *opaque, struct err *err);

/* Tell every worker to end the task; on_delivered() comes for it as for any record. */
int client_cancel(struct client *client, const char *id, void *opaque, struct err *err);

/* Wait until something came, one of the `n` others is ready (`revents`), or timeout_ms passed; hand out what came. */
void client_turn(struct client *client, struct pollfd *others, size_t n, int timeout_ms);

/* Wait until every record has had its on_delivered(), which comes at most CLIENT_DELIVERY_MS after it was sent. No
 * on_record() is called meanwhile, so an on_record() may call this. */
#define CLIENT_DELIVERY_MS 30000
void client_flush(struct client *client, unsigned timeout_ms);

/* Why we may not read on: somebody took a right away. NULL: we may. A command that waits ends with it. */
const char *client_refusal(const struct client *client);

size_t client_in_flight(const struct client *client);

/* Does Kafka answer within timeout_ms? ERR_HOST says what to do. */
int client_probe(struct client *client, unsigned timeout_ms, struct err *err);

/* Is a member of the consumer group ready to take records: this static one, or any where `instance` is NULL?
 * *ret_refusal: why we may not know that, or NULL. */
bool client_group_is_ready(struct client *client, const char *group, const char *instance, unsigned timeout_ms,
			   const char **ret_refusal);

void client_free(struct client *client);

DEFINE_FREEP(struct client, client_free)
