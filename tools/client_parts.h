/* What the parts of a client share: client.c (connection, questions, the turn), client_send.c and client_read.c.
 *
 * A client is one producer, made at once, and one consumer, made when something is first read. Each has a queue of events, and
 * both queues ring the same eventfd. librdkafka rings only when a queue goes from empty to not empty; so whoever leaves events
 * in a queue sets `has_more`, and the next turn looks without waiting.
 *
 * A record is in flight from client_send() until its one delivery. A turn hands deliveries out before records: then the caller
 * knows a task's place before it sees the task's result. client_flush() hands out deliveries only, so an on_record() may call it.
 *
 * A refusal is the first right that somebody took away while we read. It is never taken back: the command ends with it. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "bus/topics.h"
#include "tools/client.h"

#define CLIENT_ANSWER_MS 5000  /* of Kafka to a question about a topic */
#define CLIENT_APPEAR_MS 10000 /* for a topic that the first worker is just making */
#define CLIENT_RETRY_MS	 200   /* between two tries */

struct client {
	struct client_events events;
	void *ctx;
	char brokers[CONF_TEXT_MAX];
	struct topics topics;
	rd_kafka_t *producer, *consumer; /* no consumer before something is read */
	rd_kafka_queue_t *producer_queue, *consumer_queue;
	int wake_fd;
	bool has_more; /* left in a queue after the last turn: no wake-up will come for it */
	size_t in_flight;
	uint64_t deadline_mono_ms; /* 0: none */
	bool is_in;	   /* Kafka has let us in */
	char refusal[200]; /* "" while there is none */
	bool is_known[CLIENT_TOPIC_COUNT]; /* the producer has the topic's metadata */
};

const char *client_topic_name(const struct client *client, enum client_topic topic);

/* CLIENT_TOPIC_COUNT when it is none of ours. */
enum client_topic client_topic_of(const struct client *client, const char *name);

void client_wake_by(struct client *client, rd_kafka_queue_t *queue);

/* Milliseconds that are left of `most_ms` before the time of client_until(); and is that time over? */
uint64_t client_time_left(const struct client *client, uint64_t most_ms);
bool client_is_late(const struct client *client);

/* Fills `err` with what to do about a Kafka that does not answer. */
int client_no_answer(const struct client *client, const char *why, struct err *err);

/* The topic's number of partitions, once it exists; or an error. */
int client_await_partitions(struct client *client, rd_kafka_t *kafka, const char *topic, struct err *err);

/* Hands out what a queue has (NULL: it has nothing); answers whether more may be left. */
bool client_drain(struct client *client, rd_kafka_queue_t *queue);

/* client_send.c */
int client_make_producer(struct client *client, struct err *err);
void client_take_deliveries(struct client *client, rd_kafka_event_t *event);

/* client_read.c */
void client_take_records(struct client *client, rd_kafka_event_t *event);
void client_note_refusal(struct client *client, rd_kafka_resp_err_t code, const char *topic, const char *text);
