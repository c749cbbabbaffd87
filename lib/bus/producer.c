/* Theory of operation
 *
 * closed: there is no librdkafka producer. open: there is one, after init_transactions(), and no transaction of its
 * id is open. producer_publish() begins one and ends it in one of five ways:
 *
 *	committed           open
 *	aborted, refused    open: nothing was told, and librdkafka knows it
 *	fenced              open, and of no more use: another producer has the id, nothing of ours can be committed any more
 *	outcome not known   closed, opened anew, open: init_transactions() of a new producer with the same id completes or
 *	                    aborts what was open, and then bus/transaction_check.h says which it was. Until then nothing
 *	                    else may be told
 *
 * A new producer also undoes a fence. So a batch is committed only by the producer that was open when it was handed
 * over (bus/publisher.c sees to that).
 *
 * A broker refuses a batch of messages for its size, not a message: bus/refusals.h says how the one that is to blame
 * is found. Delivery reports come from within our own calls. */
#include "bus/producer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/kafka_conf.h"
#include "bus/refusals.h"
#include "bus/transaction_check.h"

#define SLICE_MS 500        /* of calls that may be asked again */
#define RETRY_BACKOFF_MS 50 /* between two tries to start or to find an outcome while the broker is away */
#define REOPEN_MS 500       /* after one that failed for another reason */
#define FLUSH_SLICE_MS 50   /* after a refusal the rest of a group may wait for ever */

struct producer {
	struct publisher_config config; /* its texts are ours */
	bool (*is_stopping)(void *ctx);
	void *ctx;
	rd_kafka_t *kafka; /* NULL: closed */
	rd_kafka_resp_err_t obstacle; /* what was told to keep it from opening; 0: nothing */
	struct refusals refusals;
	/* Of the transaction in hand: */
	const struct publish_batch *batch;
	const rd_kafka_consumer_group_metadata_t *membership;
	struct transaction_witness witness;
	uint64_t began_mono_ms;
	size_t n_pending, pending_bytes; /* produced since the last flush, while careful */
	bool has_refusal;  /* of something, for its size */
	bool has_progress; /* it was learned from: the next try is another one */
	char why[PRODUCER_WHY_BYTES];
};

static bool is_fenced(const rd_kafka_error_t *error)
{
	const rd_kafka_resp_err_t code = rd_kafka_error_code(error);

	return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
	       code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* What became of one call on the transactional producer. */
enum step { STEP_OK, STEP_ABORT, STEP_FENCED, STEP_UNKNOWN };

static enum step judge(struct producer *producer, const char *call, rd_kafka_error_t *error)
{
	enum step step = STEP_UNKNOWN;

	if (!error)
		return STEP_OK;
	(void)snprintf(producer->why, sizeof(producer->why), "%s: %s", call, rd_kafka_error_string(error));
	if (is_fenced(error))
		step = STEP_FENCED;
	else if (rd_kafka_error_txn_requires_abort(error))
		step = STEP_ABORT;
	rd_kafka_error_destroy(error);
	return step;
}

void producer_close(struct producer *producer)
{
	if (!producer->kafka)
		return;
	(void)rd_kafka_purge(producer->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_destroy(TAKE_PTR(producer->kafka));
}

static size_t size_of(const struct publish_message *message)
{
	return message->key_len + message->len;
}

/* Marks what is known to be too large for its topic. Is there anything? */
static bool mark_refused(struct producer *producer)
{
	const struct publish_batch *batch = producer->batch;
	uint64_t now = clock_mono_ms();
	bool is_any = false;

	for (size_t i = 0; i < batch->n_messages; i++) {
		const struct publish_message *message = &batch->messages[i];

		if (!message->is_refused || !refusals_has(&producer->refusals, message->topic, size_of(message), now))
			continue;
		*message->is_refused = is_any = true;
	}
	return is_any;
}

/* Of one message; it was alone, or one of those that went together. A group that is refused tells of each of its
 * messages. */
static void note_refusal(struct producer *producer, const struct publish_message *message, bool is_alone)
{
	uint64_t now = clock_mono_ms();

	if (producer->has_refusal)
		return;
	producer->has_refusal = true;
	if (is_alone) {
		refusals_note_alone(&producer->refusals, message->topic, size_of(message), now);
		producer->has_progress = mark_refused(producer);
	} else {
		refusals_note_group(&producer->refusals, now);
		producer->has_progress = true;
	}
}

static bool is_too_large(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
}

static void on_delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
	struct producer *producer = opaque;
	const struct publish_message *ours = message->_private;

	(void)kafka;
	if (is_too_large(message->err))
		note_refusal(producer, ours, producer->n_pending == 1 || producer->batch->n_messages == 1);
	if (message->err || producer->witness.topic)
		return;
	producer->witness = (struct transaction_witness){ .topic = ours->topic,
							  .partition = message->partition,
							  .offset = message->offset };
}

static int make_producer(struct producer *producer, struct err *err)
{
	char timeout[16], largest[16];
	const struct kafka_pair pairs[] = { { "bootstrap.servers", producer->config.brokers },
					    { "transactional.id", producer->config.transactional_id },
					    { "transaction.timeout.ms", timeout },
					    { "retry.backoff.ms", "5" }, /* 100, the default, is the price of a commit */
					    { "linger.ms", "5" },
					    { "queue.buffering.max.messages", "100000" },
					    { "queue.buffering.max.kbytes", "131072" },
					    { "message.max.bytes", largest },
					    { "reconnect.backoff.max.ms", "1000" } };

	(void)snprintf(timeout, sizeof(timeout), "%u", producer->config.transaction_timeout_ms);
	(void)snprintf(largest, sizeof(largest), "%d", PUBLISH_MESSAGE_MAX_BYTES);
	return kafka_new_reporting(pairs, ARRAY_SIZE(pairs), on_delivered, producer, &producer->kafka, err);
}

/* Each once: it is tried for as long as it lasts. */
static void tell_obstacle(struct producer *producer, rd_kafka_resp_err_t code, const char *text)
{
	if (code == producer->obstacle)
		return;
	producer->obstacle = code;
	log_error("publisher.init", "message=\"%s; nothing can be told until this is over\"", text);
}

/* A producer that is ready for a transaction; tries until the broker is there. false: stopping. */
bool producer_open(struct producer *producer)
{
	struct err err;

	while (!producer->is_stopping(producer->ctx)) {
		rd_kafka_error_t *error;

		if (!producer->kafka && make_producer(producer, &err) < 0) {
			log_error("publisher.open", "message=\"%s\"", err.msg);
			(void)usleep(RETRY_BACKOFF_MS * 1000);
			continue;
		}
		error = rd_kafka_init_transactions(producer->kafka, SLICE_MS);
		if (!error) {
			producer->obstacle = RD_KAFKA_RESP_ERR_NO_ERROR;
			return true;
		}
		if (rd_kafka_error_is_retriable(error)) {
			log_debug("publisher.init", "message=\"%s\"", rd_kafka_error_string(error));
		} else {
			tell_obstacle(producer, rd_kafka_error_code(error), rd_kafka_error_string(error));
			producer_close(producer);
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
		(void)rd_kafka_header_add(headers, from->headers[i].name, -1, from->headers[i].value,
					  -1); /* fails for read-only ones */
	return headers;
}

static rd_kafka_resp_err_t enqueue(struct producer *producer, const struct publish_message *message)
{
	rd_kafka_headers_t *headers = make_headers(message->headers);
	rd_kafka_resp_err_t code = rd_kafka_producev(producer->kafka, RD_KAFKA_V_TOPIC(message->topic),
						     RD_KAFKA_V_KEY((void *)(uintptr_t)message->key, message->key_len),
						     RD_KAFKA_V_VALUE((void *)(uintptr_t)message->data, message->len),
						     RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_HEADERS(headers),
						     RD_KAFKA_V_OPAQUE((void *)(uintptr_t)message), RD_KAFKA_V_END);

	if (code && headers)
		rd_kafka_headers_destroy(headers); /* else they are the message's */
	return code;
}

static enum step produce_one(struct producer *producer, const struct publish_message *message)
{
	for (;;) {
		rd_kafka_resp_err_t code = enqueue(producer, message);

		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			return STEP_OK;
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			if (is_too_large(code))
				note_refusal(producer, message, true);
			(void)snprintf(producer->why, sizeof(producer->why), "produce: %s", rd_kafka_err2str(code));
			return code == RD_KAFKA_RESP_ERR__FENCED ? STEP_FENCED :
			       code == RD_KAFKA_RESP_ERR__FATAL	 ? STEP_UNKNOWN :
								   STEP_ABORT;
		}
		(void)rd_kafka_poll(producer->kafka, 10);
	}
}

/* Wait until what was produced is there, or something of it is refused. */
static enum step flush_group(struct producer *producer)
{
	uint64_t deadline = clock_mono_ms() + producer->config.transaction_timeout_ms;
	rd_kafka_resp_err_t code;

	do
		code = rd_kafka_flush(producer->kafka, FLUSH_SLICE_MS);
	while (code == RD_KAFKA_RESP_ERR__TIMED_OUT && !producer->has_refusal && clock_mono_ms() < deadline);
	producer->n_pending = producer->pending_bytes = 0;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && !producer->has_refusal)
		return STEP_OK;
	(void)snprintf(producer->why, sizeof(producer->why), "produce: %s",
		       producer->has_refusal ? "something is too large for its topic" : rd_kafka_err2str(code));
	return STEP_ABORT;
}

/* In groups of so many bytes, or alone. */
static enum step produce_careful(struct producer *producer, const struct publish_message *message, size_t group_bytes)
{
	enum step step = STEP_OK;

	if (producer->n_pending && producer->pending_bytes + size_of(message) > group_bytes)
		step = flush_group(producer);
	if (step != STEP_OK)
		return step;
	producer->n_pending++;
	producer->pending_bytes += size_of(message);
	return produce_one(producer, message);
}

static enum step produce_all(struct producer *producer)
{
	size_t group_bytes = refusals_group_bytes(&producer->refusals, clock_mono_ms());
	const struct publish_batch *batch = producer->batch;
	enum step step = STEP_OK;

	for (size_t i = 0; i < batch->n_messages && step == STEP_OK; i++)
		step = group_bytes == SIZE_MAX ? produce_one(producer, &batch->messages[i]) :
						 produce_careful(producer, &batch->messages[i], group_bytes);
	return step == STEP_OK && producer->n_pending ? flush_group(producer) : step;
}

static rd_kafka_topic_partition_list_t *list_offsets(const struct producer *producer)
{
	const struct publish_batch *batch = producer->batch;
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

static enum step send_offsets(struct producer *producer)
{
	rd_kafka_topic_partition_list_t *list = list_offsets(producer);
	rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(producer->kafka, list, producer->membership,
								       (int)producer->config.transaction_timeout_ms);

	rd_kafka_topic_partition_list_destroy(list);
	return judge(producer, "send offsets", error);
}

static enum step commit(struct producer *producer)
{
	uint64_t deadline = clock_mono_ms() + 2 * (uint64_t)producer->config.transaction_timeout_ms;
	rd_kafka_error_t *error;

	do
		error = rd_kafka_commit_transaction(producer->kafka, (int)producer->config.transaction_timeout_ms);
	while (error && rd_kafka_error_is_retriable(error) && !rd_kafka_error_txn_requires_abort(error) &&
	       clock_mono_ms() < deadline && !producer->is_stopping(producer->ctx) && (rd_kafka_error_destroy(error), true));
	return judge(producer, "commit", error);
}

/* The broker tells the producer of a transaction that it gave up the same as one that was replaced. */
static enum step doubt_old_fence(const struct producer *producer, enum step step)
{
	if (step == STEP_FENCED && clock_mono_ms() - producer->began_mono_ms >= producer->config.transaction_timeout_ms)
		return STEP_UNKNOWN;
	return step;
}

static enum step run_transaction(struct producer *producer)
{
	enum step step;

	producer->witness = (struct transaction_witness){ 0 };
	producer->began_mono_ms = clock_mono_ms();
	producer->n_pending = producer->pending_bytes = 0;
	producer->has_refusal = producer->has_progress = false;
	step = judge(producer, "begin", rd_kafka_begin_transaction(producer->kafka));
	if (step == STEP_OK)
		step = produce_all(producer);
	if (step == STEP_OK && producer->batch->n_offsets)
		step = send_offsets(producer);
	return step == STEP_OK ? commit(producer) : step;
}

static enum publish_verdict check_transaction(struct producer *producer)
{
	enum transaction_verdict verdict = TRANSACTION_VERDICT_UNKNOWN;

	log_warn("publisher.unknown", "message=\"%s\"", producer->why);
	producer_close(producer);
	if (!producer_open(producer))
		return PUBLISH_VERDICT_ABORTED; /* stopping: nobody hears it */
	while (verdict == TRANSACTION_VERDICT_UNKNOWN && !producer->is_stopping(producer->ctx))
		verdict = transaction_check(&producer->config, producer->batch, &producer->witness,
					 producer->config.transaction_timeout_ms);
	return verdict == TRANSACTION_VERDICT_COMMITTED ? PUBLISH_VERDICT_COMMITTED : PUBLISH_VERDICT_ABORTED;
}

static enum publish_verdict publish(struct producer *producer)
{
	enum step step;

	if (mark_refused(producer)) {
		(void)snprintf(producer->why, sizeof(producer->why), "something is too large for its topic");
		return PUBLISH_VERDICT_REFUSED;
	}
	step = run_transaction(producer);
	if (step == STEP_ABORT) {
		char why[sizeof(producer->why)];

		memcpy(why, producer->why, sizeof(why));
		step = judge(producer, "abort",
			     rd_kafka_abort_transaction(producer->kafka, (int)producer->config.transaction_timeout_ms));
		if (step == STEP_OK) {
			memcpy(producer->why, why, sizeof(why));
			return producer->has_progress ? PUBLISH_VERDICT_REFUSED : PUBLISH_VERDICT_ABORTED;
		}
	}
	if (step == STEP_OK)
		return PUBLISH_VERDICT_COMMITTED;
	if (doubt_old_fence(producer, step) == STEP_FENCED)
		return PUBLISH_VERDICT_FENCED;
	return check_transaction(producer);
}

enum publish_verdict producer_publish(struct producer *producer, const struct publish_batch *batch,
				      const rd_kafka_consumer_group_metadata_t *membership, char why[PRODUCER_WHY_BYTES])
{
	enum publish_verdict verdict;

	producer->batch = batch;
	producer->membership = membership;
	producer->why[0] = '\0';
	verdict = publish(producer);
	memcpy(why, producer->why, PRODUCER_WHY_BYTES);
	return verdict;
}

static int copy_config(struct publisher_config *to, const struct publisher_config *from)
{
	to->brokers = strdup(from->brokers);
	to->transactional_id = strdup(from->transactional_id);
	to->group = strdup(from->group);
	to->transaction_timeout_ms = from->transaction_timeout_ms;
	return to->brokers && to->transactional_id && to->group ? 0 : -ENOMEM;
}

int producer_new(const struct publisher_config *config, bool (*is_stopping)(void *ctx), void *ctx,
		 struct producer **ret, struct err *err)
{
	cleanup_(producer_freep) struct producer *producer = calloc(1, sizeof(*producer));

	if (!producer || copy_config(&producer->config, config) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "a producer");
	producer->is_stopping = is_stopping;
	producer->ctx = ctx;
	*ret = TAKE_PTR(producer);
	return 0;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text); /* the config's texts are const for those who lend them */
}

void producer_free(struct producer *producer)
{
	if (!producer)
		return;
	producer_close(producer);
	free_text(producer->config.brokers);
	free_text(producer->config.transactional_id);
	free_text(producer->config.group);
	free(producer);
}

int producer_fence(const char *brokers, const char *transactional_id, unsigned timeout_ms, struct err *err)
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
