/* Theory of operation
 *
 * Asked is a broker that has completed or aborted the transaction by now, so there are two outcomes, and something to
 * be seen of each:
 *
 * With a witness: it is a message that was written. A reader of committed messages starts at its offset. It gets the
 * message itself (committed), or something behind it, or the partition's end behind it (aborted: such a reader passes
 * over it). At the partition's end before it, an earlier transaction of somebody else is still open: unknown.
 *
 * Without a witness no message was written. If there was to be one, it was not committed. If there were only offsets,
 * the group's positions are compared: all as in the batch is committed, anything else is aborted.
 *
 * Every call has an end, and one that does not answer says nothing: unknown, to be asked again. */
#include "bus/transaction_check.h"

#include <librdkafka/rdkafka.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define POLL_MS 200

DEFINE_FREEP(rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy)

static rd_kafka_t *open_reader(const struct publisher_config *config)
{
	const struct kafka_pair pairs[] = {
		{ "bootstrap.servers", config->brokers }, { "group.id", config->group }, /* nothing joins it */
		{ "enable.auto.commit", "false" },        { "auto.offset.reset", "error" },
		{ "enable.partition.eof", "true" },       { "isolation.level", "read_committed" }
	};
	struct err err;
	rd_kafka_t *reader;

	if (kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs), 0, NULL, &reader, &err) == 0)
		return reader;
	log_error("transaction.open", "message=\"%s\"", err.msg);
	return NULL;
}

/* The first thing that a reader of committed messages finds from the witness on: itself, or something behind it.
 * Nothing is found before every transaction that began earlier has ended, so an end of the partition behind the
 * witness is an answer. */
static enum transaction_verdict look_at(const rd_kafka_message_t *message, const struct transaction_witness *witness)
{
	bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;

	if (message->err && !is_end) {
		log_warn("transaction.read", "topic=%s partition=%d message=\"%s\"", witness->topic, witness->partition,
			 rd_kafka_message_errstr(message));
		return TRANSACTION_VERDICT_UNKNOWN;
	}
	if (message->offset > witness->offset)
		return TRANSACTION_VERDICT_ABORTED;
	return is_end ? TRANSACTION_VERDICT_UNKNOWN : TRANSACTION_VERDICT_COMMITTED;
}

static enum transaction_verdict find_witness(rd_kafka_t *reader, const struct transaction_witness *witness,
					    unsigned timeout_ms)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(1);
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	enum transaction_verdict verdict = TRANSACTION_VERDICT_UNKNOWN;

	rd_kafka_topic_partition_list_add(list, witness->topic, witness->partition)->offset = witness->offset;
	if (rd_kafka_assign(reader, list))
		return verdict;
	while (verdict == TRANSACTION_VERDICT_UNKNOWN && clock_mono_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, POLL_MS);

		if (!message)
			continue;
		verdict = look_at(message, witness);
		rd_kafka_message_destroy(message);
	}
	return verdict;
}

static bool is_position(const rd_kafka_topic_partition_t *found, const struct publish_offset *offset)
{
	return !found->err && found->offset == offset->next && found->metadata_size == strlen(offset->metadata) &&
	       (!found->metadata_size || memcmp(found->metadata, offset->metadata, found->metadata_size) == 0);
}

static enum transaction_verdict compare_positions(rd_kafka_t *reader, const struct publish_batch *batch,
						  unsigned timeout_ms)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)batch->n_offsets);

	for (size_t i = 0; i < batch->n_offsets; i++)
		(void)rd_kafka_topic_partition_list_add(list, batch->offsets[i].topic, batch->offsets[i].partition);
	if (rd_kafka_committed(reader, list, (int)timeout_ms))
		return TRANSACTION_VERDICT_UNKNOWN;
	for (size_t i = 0; i < batch->n_offsets; i++) /* librdkafka keeps the order of the list */
		if (!is_position(&list->elems[i], &batch->offsets[i]))
			return TRANSACTION_VERDICT_ABORTED;
	return TRANSACTION_VERDICT_COMMITTED;
}

enum transaction_verdict transaction_check(const struct publisher_config *config, const struct publish_batch *batch,
				       const struct transaction_witness *witness, unsigned timeout_ms)
{
	enum transaction_verdict verdict;
	rd_kafka_t *reader;

	if (!witness->topic && (batch->n_messages || !batch->n_offsets))
		return TRANSACTION_VERDICT_ABORTED;
	reader = open_reader(config);
	if (!reader)
		return TRANSACTION_VERDICT_UNKNOWN;
	verdict = witness->topic ? find_witness(reader, witness, timeout_ms)
				 : compare_positions(reader, batch, timeout_ms);
	rd_kafka_destroy(reader);
	return verdict;
}
