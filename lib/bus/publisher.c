/* The thread owns the producer; the loop's side owns everything else. One batch is in one of three places: nowhere, with the
 * thread (batch != NULL), or done and waiting for the loop (is_done). The mutex guards just that hand-over.
 *
 * A transaction whose outcome is not known (the broker went away during the commit) is found out by a new producer with the
 * same transactional id: init_transactions() completes or aborts what was open, and then bus/transaction_check.h says which it was.
 *
 * A new producer also undoes a fence. So a batch is committed only by the producer that was open when it was handed over:
 * what waited for a new one goes back as aborted, and its owner looks again whether it may still tell it.
 *
 * A broker refuses a batch of messages for its size, not a message: bus/refusals.h says how the one that is to blame is found.
 *
 * The group's membership is captured when the batch is handed over: after a rebalance the broker refuses it, so that offsets
 * of a partition that moved are never committed by its former owner. */
#include "bus/publisher.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/consumer.h"
#include "bus/kafka_conf.h"
#include "bus/refusals.h"
#include "bus/transaction_check.h"

#define SLICE_MS 500        /* of calls that may be asked again */
#define RETRY_BACKOFF_MS 50 /* between two tries to start or to find an outcome while the broker is away */
#define REOPEN_MS 500       /* after one that failed for another reason */
#define FLUSH_SLICE_MS 50   /* after a refusal the rest of a group may wait for ever */

struct publisher {
	char *brokers, *transactional_id, *group;
	struct publisher_config config; /* of these */
	unsigned timeout_ms;
	struct consumer *consumer; /* borrowed; NULL: no membership */
	rd_kafka_resp_err_t obstacle; /* the thread's: what was told to keep it from a transaction; 0: nothing */
	rd_kafka_t *kafka;    /* the thread's, as are the next four, of the transaction in hand */
	struct transaction_witness witness;
	uint64_t began_mono_ms;
	struct refusals refusals;
	size_t n_pending, pending_bytes; /* produced since the last flush, while careful */
	bool has_refusal;  /* of something, for its size */
	bool has_progress; /* it was learned from: the next try is another one */
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t mutex;
	pthread_cond_t cond;
	const struct publish_batch *batch;
	rd_kafka_consumer_group_metadata_t *membership; /* of the batch */
	bool is_stopping;
	bool is_done;
	enum publish_verdict verdict;
	char why[240];

	bool is_busy; /* the loop's: a batch is out */
	int done_fd;
	struct event *done;
	void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why);
	void *ctx;
};

static bool is_stopping(struct publisher *publisher)
{
	bool result;

	(void)pthread_mutex_lock(&publisher->mutex);
	result = publisher->is_stopping;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return result;
}

static bool is_fenced(const rd_kafka_error_t *error)
{
	const rd_kafka_resp_err_t code = rd_kafka_error_code(error);

	return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
	       code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* What became of one call on the transactional producer. */
enum step { STEP_OK, STEP_ABORT, STEP_FENCED, STEP_UNKNOWN };

static enum step judge(struct publisher *publisher, const char *call, rd_kafka_error_t *error)
{
	enum step step = STEP_UNKNOWN;

	if (!error)
		return STEP_OK;
	(void)snprintf(publisher->why, sizeof(publisher->why), "%s: %s", call, rd_kafka_error_string(error));
	if (is_fenced(error))
		step = STEP_FENCED;
	else if (rd_kafka_error_txn_requires_abort(error))
		step = STEP_ABORT;
	rd_kafka_error_destroy(error);
	return step;
}

static void drop_producer(struct publisher *publisher)
{
	if (!publisher->kafka)
		return;
	(void)rd_kafka_purge(publisher->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_destroy(TAKE_PTR(publisher->kafka));
}

static size_t size_of(const struct publish_message *message)
{
	return message->key_len + message->len;
}

/* Marks what is known to be too large for its topic. Is there anything? */
static bool mark_refused(struct publisher *publisher)
{
	const struct publish_batch *batch = publisher->batch;
	uint64_t now = clock_mono_ms();
	bool is_any = false;

	for (size_t i = 0; i < batch->n_messages; i++) {
		const struct publish_message *message = &batch->messages[i];

		if (!message->is_refused || !refusals_has(&publisher->refusals, message->topic, size_of(message), now))
			continue;
		*message->is_refused = is_any = true;
	}
	return is_any;
}

/* Of one message; it was alone, or one of those that went together. A group that is refused tells of each of its messages. */
static void note_refusal(struct publisher *publisher, const struct publish_message *message, bool is_alone)
{
	uint64_t now = clock_mono_ms();

	if (publisher->has_refusal)
		return;
	publisher->has_refusal = true;
	if (is_alone) {
		refusals_note_alone(&publisher->refusals, message->topic, size_of(message), now);
		publisher->has_progress = mark_refused(publisher);
	} else {
		refusals_note_group(&publisher->refusals, now);
		publisher->has_progress = true;
	}
}

static bool is_too_large(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
}

static void on_delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
	struct publisher *publisher = opaque;
	const struct publish_message *ours = message->_private;

	(void)kafka;
	if (is_too_large(message->err))
		note_refusal(publisher, ours, publisher->n_pending == 1 || publisher->batch->n_messages == 1);
	if (message->err || publisher->witness.topic)
		return;
	publisher->witness = (struct transaction_witness){ .topic = ours->topic,
							  .partition = message->partition,
							  .offset = message->offset };
}

static int make_producer(struct publisher *publisher, struct err *err)
{
	char timeout[16], largest[16];
	const struct kafka_pair pairs[] = { { "bootstrap.servers", publisher->brokers },
					    { "transactional.id", publisher->transactional_id },
					    { "transaction.timeout.ms", timeout },
					    { "retry.backoff.ms", "5" }, /* 100, the default, is the price of a commit */
					    { "linger.ms", "5" },
					    { "queue.buffering.max.messages", "100000" },
					    { "queue.buffering.max.kbytes", "131072" },
					    { "message.max.bytes", largest },
					    { "reconnect.backoff.max.ms", "1000" } };

	(void)snprintf(timeout, sizeof(timeout), "%u", publisher->timeout_ms);
	(void)snprintf(largest, sizeof(largest), "%d", PUBLISH_MESSAGE_MAX_BYTES);
	return kafka_new_reporting(pairs, ARRAY_SIZE(pairs), on_delivered, publisher, &publisher->kafka, err);
}

/* Each once: it is tried for as long as it lasts. */
static void tell_obstacle(struct publisher *publisher, rd_kafka_resp_err_t code, const char *text)
{
	if (code == publisher->obstacle)
		return;
	publisher->obstacle = code;
	log_error("publisher.init", "message=\"%s; nothing can be told until this is over\"", text);
}

/* A producer that is ready for a transaction; tries until the broker is there. false: stopping. */
static bool open_producer(struct publisher *publisher)
{
	struct err err;

	while (!is_stopping(publisher)) {
		rd_kafka_error_t *error;

		if (!publisher->kafka && make_producer(publisher, &err) < 0) {
			log_error("publisher.open", "message=\"%s\"", err.msg);
			(void)usleep(RETRY_BACKOFF_MS * 1000);
			continue;
		}
		error = rd_kafka_init_transactions(publisher->kafka, SLICE_MS);
		if (!error) {
			publisher->obstacle = RD_KAFKA_RESP_ERR_NO_ERROR;
			return true;
		}
		if (rd_kafka_error_is_retriable(error)) {
			log_debug("publisher.init", "message=\"%s\"", rd_kafka_error_string(error));
		} else {
			tell_obstacle(publisher, rd_kafka_error_code(error), rd_kafka_error_string(error));
			drop_producer(publisher);
			(void)usleep(REOPEN_MS * 1000);
		}
		rd_kafka_error_destroy(error);
		(void)usleep(RETRY_BACKOFF_MS * 1000);
	}
	return false;
}

/* NULL when there are none. */
static rd_kafka_headers_t *make_headers(const struct publish_headers *from)
{
	rd_kafka_headers_t *headers = from ? rd_kafka_headers_new(from->n) : NULL;

	for (size_t i = 0; from && i < from->n; i++)
		(void)rd_kafka_header_add(headers, from->headers[i].name, -1, from->headers[i].value, -1); /* fails for read-only ones */
	return headers;
}

static rd_kafka_resp_err_t enqueue(struct publisher *publisher, const struct publish_message *message)
{
	rd_kafka_headers_t *headers = make_headers(message->headers);
	rd_kafka_resp_err_t code = rd_kafka_producev(publisher->kafka, RD_KAFKA_V_TOPIC(message->topic),
						     RD_KAFKA_V_KEY((void *)(uintptr_t)message->key, message->key_len),
						     RD_KAFKA_V_VALUE((void *)(uintptr_t)message->data, message->len),
						     RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_HEADERS(headers),
						     RD_KAFKA_V_OPAQUE((void *)(uintptr_t)message), RD_KAFKA_V_END);

	if (code && headers)
		rd_kafka_headers_destroy(headers); /* else they are the message's */
	return code;
}

static enum step produce_one(struct publisher *publisher, const struct publish_message *message)
{
	for (;;) {
		rd_kafka_resp_err_t code = enqueue(publisher, message);

		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			return STEP_OK;
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			if (is_too_large(code))
				note_refusal(publisher, message, true);
			(void)snprintf(publisher->why, sizeof(publisher->why), "produce: %s", rd_kafka_err2str(code));
			return code == RD_KAFKA_RESP_ERR__FENCED ? STEP_FENCED :
			       code == RD_KAFKA_RESP_ERR__FATAL	 ? STEP_UNKNOWN :
								   STEP_ABORT;
		}
		(void)rd_kafka_poll(publisher->kafka, 10);
	}
}

/* Wait until what was produced is there, or something of it is refused. */
static enum step flush_group(struct publisher *publisher)
{
	uint64_t deadline = clock_mono_ms() + publisher->timeout_ms;
	rd_kafka_resp_err_t code;

	do
		code = rd_kafka_flush(publisher->kafka, FLUSH_SLICE_MS);
	while (code == RD_KAFKA_RESP_ERR__TIMED_OUT && !publisher->has_refusal && clock_mono_ms() < deadline);
	publisher->n_pending = publisher->pending_bytes = 0;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && !publisher->has_refusal)
		return STEP_OK;
	(void)snprintf(publisher->why, sizeof(publisher->why), "produce: %s",
		       publisher->has_refusal ? "something is too large for its topic" : rd_kafka_err2str(code));
	return STEP_ABORT;
}

/* In groups of so many bytes, or alone. */
static enum step produce_careful(struct publisher *publisher, const struct publish_message *message, size_t group_bytes)
{
	enum step step = STEP_OK;

	if (publisher->n_pending && publisher->pending_bytes + size_of(message) > group_bytes)
		step = flush_group(publisher);
	if (step != STEP_OK)
		return step;
	publisher->n_pending++;
	publisher->pending_bytes += size_of(message);
	return produce_one(publisher, message);
}

static enum step produce_all(struct publisher *publisher)
{
	size_t group_bytes = refusals_group_bytes(&publisher->refusals, clock_mono_ms());
	const struct publish_batch *batch = publisher->batch;
	enum step step = STEP_OK;

	for (size_t i = 0; i < batch->n_messages && step == STEP_OK; i++)
		step = group_bytes == SIZE_MAX ? produce_one(publisher, &batch->messages[i]) :
						 produce_careful(publisher, &batch->messages[i], group_bytes);
	return step == STEP_OK && publisher->n_pending ? flush_group(publisher) : step;
}

static rd_kafka_topic_partition_list_t *list_offsets(const struct publisher *publisher)
{
	const struct publish_batch *batch = publisher->batch;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)batch->n_offsets);

	for (size_t i = 0; i < batch->n_offsets; i++) {
		const struct publish_offset *offset = &batch->offsets[i];
		rd_kafka_topic_partition_t *one =
			rd_kafka_topic_partition_list_add(list, offset->topic, offset->partition);

		one->offset = offset->next;
		one->metadata = strdup(offset->metadata); /* the list frees it */
		one->metadata_size = one->metadata ? strlen(offset->metadata) : 0;
	}
	return list;
}

static enum step send_offsets(struct publisher *publisher)
{
	rd_kafka_topic_partition_list_t *list = list_offsets(publisher);
	rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(publisher->kafka, list, publisher->membership,
								       (int)publisher->timeout_ms);

	rd_kafka_topic_partition_list_destroy(list);
	return judge(publisher, "send offsets", error);
}

static enum step commit(struct publisher *publisher)
{
	uint64_t deadline = clock_mono_ms() + 2 * (uint64_t)publisher->timeout_ms;
	rd_kafka_error_t *error;

	do
		error = rd_kafka_commit_transaction(publisher->kafka, (int)publisher->timeout_ms);
	while (error && rd_kafka_error_is_retriable(error) && !rd_kafka_error_txn_requires_abort(error) &&
	       clock_mono_ms() < deadline && !is_stopping(publisher) && (rd_kafka_error_destroy(error), true));
	return judge(publisher, "commit", error);
}

/* The broker tells the producer of a transaction that it gave up the same as one that was replaced. */
static enum step doubt_old_fence(const struct publisher *publisher, enum step step)
{
	if (step == STEP_FENCED && clock_mono_ms() - publisher->began_mono_ms >= publisher->timeout_ms)
		return STEP_UNKNOWN;
	return step;
}

static enum step run_transaction(struct publisher *publisher)
{
	enum step step;

	publisher->witness = (struct transaction_witness){ 0 };
	publisher->began_mono_ms = clock_mono_ms();
	publisher->n_pending = publisher->pending_bytes = 0;
	publisher->has_refusal = publisher->has_progress = false;
	step = judge(publisher, "begin", rd_kafka_begin_transaction(publisher->kafka));
	if (step == STEP_OK)
		step = produce_all(publisher);
	if (step == STEP_OK && publisher->batch->n_offsets)
		step = send_offsets(publisher);
	return step == STEP_OK ? commit(publisher) : step;
}

static enum publish_verdict check_transaction(struct publisher *publisher)
{
	enum transaction_verdict verdict = TRANSACTION_VERDICT_UNKNOWN;

	log_warn("publisher.unknown", "message=\"%s\"", publisher->why);
	drop_producer(publisher);
	if (!open_producer(publisher))
		return PUBLISH_VERDICT_ABORTED; /* stopping: nobody hears it */
	while (verdict == TRANSACTION_VERDICT_UNKNOWN && !is_stopping(publisher))
		verdict = transaction_check(&publisher->config, publisher->batch, &publisher->witness,
					 publisher->timeout_ms);
	return verdict == TRANSACTION_VERDICT_COMMITTED ? PUBLISH_VERDICT_COMMITTED : PUBLISH_VERDICT_ABORTED;
}

static enum publish_verdict publish(struct publisher *publisher)
{
	enum step step;

	if (mark_refused(publisher)) {
		(void)snprintf(publisher->why, sizeof(publisher->why), "something is too large for its topic");
		return PUBLISH_VERDICT_REFUSED;
	}
	step = run_transaction(publisher);
	if (step == STEP_ABORT) {
		char why[sizeof(publisher->why)];

		memcpy(why, publisher->why, sizeof(why));
		step = judge(publisher, "abort", rd_kafka_abort_transaction(publisher->kafka, (int)publisher->timeout_ms));
		if (step == STEP_OK) {
			memcpy(publisher->why, why, sizeof(why));
			return publisher->has_progress ? PUBLISH_VERDICT_REFUSED : PUBLISH_VERDICT_ABORTED;
		}
	}
	if (step == STEP_OK)
		return PUBLISH_VERDICT_COMMITTED;
	if (doubt_old_fence(publisher, step) == STEP_FENCED)
		return PUBLISH_VERDICT_FENCED;
	return check_transaction(publisher);
}

static bool wait_for_batch(struct publisher *publisher)
{
	bool has_batch;

	(void)pthread_mutex_lock(&publisher->mutex);
	while ((!publisher->batch || publisher->is_done) && !publisher->is_stopping)
		(void)pthread_cond_wait(&publisher->cond, &publisher->mutex);
	has_batch = publisher->batch && !publisher->is_done;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return has_batch;
}

static void hand_back(struct publisher *publisher, enum publish_verdict verdict)
{
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&publisher->mutex);
	publisher->verdict = verdict;
	publisher->is_done = true;
	(void)pthread_mutex_unlock(&publisher->mutex);
	if (write(publisher->done_fd, &one, sizeof(one)) < 0)
		log_error("publisher.wake", "errno=%d", errno); /* an eventfd counter that is 0 or 1 cannot be full */
}

static bool has_early_batch(struct publisher *publisher)
{
	const struct publish_batch *batch;

	(void)pthread_mutex_lock(&publisher->mutex);
	batch = publisher->batch;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return batch && (batch->n_messages || batch->n_offsets);
}

static void *run(void *arg)
{
	struct publisher *publisher = arg;

	if (open_producer(publisher)) {
		if (has_early_batch(publisher)) {
			(void)snprintf(publisher->why, sizeof(publisher->why),
				       "handed over before the producer was there");
			hand_back(publisher, PUBLISH_VERDICT_ABORTED);
		}
		while (wait_for_batch(publisher))
			hand_back(publisher, publish(publisher));
	}
	drop_producer(publisher);
	return NULL;
}

static void on_done_fd(evutil_socket_t fd, short what, void *arg)
{
	struct publisher *publisher = arg;
	enum publish_verdict verdict;
	char why[sizeof(publisher->why)];
	uint64_t ticks;

	(void)what;
	if (read(fd, &ticks, sizeof(ticks)) < 0)
		return;
	(void)pthread_mutex_lock(&publisher->mutex);
	verdict = publisher->verdict;
	memcpy(why, publisher->why, sizeof(why));
	publisher->batch = NULL;
	publisher->is_done = false;
	(void)pthread_mutex_unlock(&publisher->mutex);
	if (publisher->membership)
		rd_kafka_consumer_group_metadata_destroy(TAKE_PTR(publisher->membership));
	publisher->is_busy = false;
	publisher->on_done(publisher->ctx, verdict, why);
}

void publisher_submit(struct publisher *publisher, const struct publish_batch *batch)
{
	assert(!publisher->is_busy);
	publisher->is_busy = true;
	publisher->membership = publisher->consumer ?
					rd_kafka_consumer_group_metadata(consumer_handle(publisher->consumer)) :
					rd_kafka_consumer_group_metadata_new(publisher->group);
	(void)pthread_mutex_lock(&publisher->mutex);
	publisher->batch = batch;
	publisher->why[0] = '\0';
	(void)pthread_cond_signal(&publisher->cond);
	(void)pthread_mutex_unlock(&publisher->mutex);
}

static int start_thread(struct publisher *publisher, struct err *err)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* cannot fail with valid sets */
	code = pthread_create(&publisher->thread, NULL, run, publisher);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	publisher->has_thread = code == 0;
	return code ? err_set(err, ERR_HOST, code, "start the publisher's thread") : 0;
}

static int copy_config(struct publisher *publisher, const struct publisher_config *config, struct err *err)
{
	publisher->brokers = strdup(config->brokers);
	publisher->transactional_id = strdup(config->transactional_id);
	publisher->group = strdup(config->group);
	publisher->timeout_ms = config->transaction_timeout_ms;
	publisher->config = (struct publisher_config){ .brokers = publisher->brokers,
						       .transactional_id = publisher->transactional_id,
						       .group = publisher->group,
						       .transaction_timeout_ms = publisher->timeout_ms };
	if (publisher->brokers && publisher->transactional_id && publisher->group)
		return 0;
	return err_set(err, ERR_HOST, ENOMEM, "a publisher");
}

int publisher_new(struct event_base *base, const struct publisher_config *config, struct consumer *consumer,
		  void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why), void *ctx,
		  struct publisher **ret, struct err *err)
{
	struct publisher *publisher = calloc(1, sizeof(*publisher));
	int r;

	if (!publisher)
		return err_set(err, ERR_HOST, ENOMEM, "a publisher");
	(void)pthread_mutex_init(&publisher->mutex, NULL); /* default attributes: cannot fail on Linux */
	(void)pthread_cond_init(&publisher->cond, NULL);
	publisher->consumer = consumer;
	publisher->on_done = on_done;
	publisher->ctx = ctx;
	publisher->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r = copy_config(publisher, config, err);
	if (r == 0 && publisher->done_fd >= 0)
		publisher->done = event_new(base, publisher->done_fd, EV_READ | EV_PERSIST, on_done_fd, publisher);
	if (r == 0 && (!publisher->done || event_add(publisher->done, NULL) < 0))
		r = err_set(err, ERR_HOST, ENOMEM, "watch the publisher");
	if (r == 0)
		r = start_thread(publisher, err);
	if (r < 0) {
		publisher_free(publisher);
		return r;
	}
	*ret = publisher;
	return 0;
}

void publisher_free(struct publisher *publisher)
{
	if (!publisher)
		return;
	if (publisher->has_thread) {
		(void)pthread_mutex_lock(&publisher->mutex);
		publisher->is_stopping = true;
		(void)pthread_cond_signal(&publisher->cond);
		(void)pthread_mutex_unlock(&publisher->mutex);
		(void)pthread_join(publisher->thread, NULL); /* joinable, and not us */
	}
	if (publisher->membership)
		rd_kafka_consumer_group_metadata_destroy(publisher->membership);
	if (publisher->done)
		event_free(publisher->done);
	close_fd(&publisher->done_fd);
	(void)pthread_cond_destroy(&publisher->cond);
	(void)pthread_mutex_destroy(&publisher->mutex);
	free(publisher->brokers);
	free(publisher->transactional_id);
	free(publisher->group);
	free(publisher);
}

int publisher_fence(const char *brokers, const char *transactional_id, unsigned timeout_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers },
					    { "transactional.id", transactional_id },
					    { "retry.backoff.ms", "5" } };
	rd_kafka_error_t *error;
	rd_kafka_t *kafka;
	int r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), 0, NULL, &kafka, err);

	if (r < 0)
		return r;
	error = rd_kafka_init_transactions(kafka, (int)timeout_ms);
	if (error)
		r = err_set(err, ERR_BUSY, ETIMEDOUT, "fence '%s': %s", transactional_id, rd_kafka_error_string(error));
	if (error)
		rd_kafka_error_destroy(error);
	rd_kafka_destroy(kafka);
	return r;
}
