#include "reaper/blocking_publisher.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>

#include "loop/timer.h"

struct blocking_publisher {
	struct event_base *base;
	struct publisher *publisher;
	struct timer *late;
	unsigned timeout_ms;
	bool is_done;
	enum publish_verdict verdict;
	char why[160];
};

void blocking_batch_add(struct blocking_batch *batch, const char *topic, const char *key, struct buf *data)
{
	assert(batch->n_messages < REAP_BATCH_MAX);
	batch->messages[batch->n_messages++] = (struct publish_message){
		.topic = topic, .key = key, .key_len = strlen(key), .data = data->data, .len = data->len
	};
	*data = (struct buf){ 0 };
}

void blocking_batch_commit(struct blocking_batch *batch, const char *topic, int32_t partition, int64_t next,
			   const char *metadata)
{
	assert(batch->n_offsets < REAP_BATCH_MAX);
	batch->offsets[batch->n_offsets++] =
		(struct publish_offset){ .topic = topic, .partition = partition, .next = next, .metadata = metadata };
}

void blocking_batch_clear(struct blocking_batch *batch)
{
	for (size_t i = 0; i < batch->n_messages; i++)
		free((void *)(uintptr_t)batch->messages[i].data);
	*batch = (struct blocking_batch){ 0 };
}

static void on_done(void *ctx, enum publish_verdict verdict, const char *why)
{
	struct blocking_publisher *blocking = ctx;

	blocking->is_done = true;
	blocking->verdict = verdict;
	(void)snprintf(blocking->why, sizeof(blocking->why), "%.150s", why);
	(void)event_base_loopbreak(blocking->base); /* fails only without a base */
}

static void on_late(void *ctx)
{
	struct blocking_publisher *blocking = ctx;

	(void)event_base_loopbreak(blocking->base); /* fails only without a base */
}

static int submit(struct blocking_publisher *blocking, const struct publish_batch *batch, struct err *err)
{
	int r;

	blocking->is_done = false;
	publisher_submit(blocking->publisher, batch);
	timer_set_ms(blocking->late, blocking->timeout_ms);
	r = event_base_dispatch(blocking->base);
	timer_stop(blocking->late);
	if (r < 0)
		return err_set(err, ERR_HOST, 0, "the loop that waits for Kafka failed");
	if (!blocking->is_done) {
		publisher_free(TAKE_PTR(
			blocking->publisher)); /* its thread has the batch, which is the caller's again from here */
		return err_set(err, ERR_BUSY, ETIMEDOUT, "Kafka did not answer the reaper's transaction in %u ms",
			       blocking->timeout_ms);
	}
	if (blocking->verdict == PUBLISH_VERDICT_COMMITTED)
		return 0;
	return err_set(err, ERR_BUSY, EAGAIN, "the reaper's transaction was %s (%s)",
		       blocking->verdict == PUBLISH_VERDICT_FENCED ? "fenced by another reaper" : "aborted",
		       blocking->why);
}

int blocking_publisher_new(const struct blocking_publisher_config *config, struct blocking_publisher **ret,
			   struct err *err)
{
	const struct publisher_config publisher = { .brokers = config->brokers,
						    .transactional_id = config->group,
						    .group = config->group,
						    .transaction_timeout_ms = config->timeout_ms };
	const struct publish_batch nothing = { 0 };
	cleanup_(blocking_publisher_freep) struct blocking_publisher *blocking = calloc(1, sizeof(*blocking));
	int r;

	if (!blocking)
		return err_set(err, ERR_HOST, ENOMEM, "a producer for the reaper");
	blocking->timeout_ms = config->timeout_ms;
	blocking->base = event_base_new();
	if (!blocking->base)
		return err_set(err, ERR_HOST, ENOMEM, "a producer for the reaper");
	r = timer_new(blocking->base, on_late, blocking, &blocking->late, err);
	if (r == 0)
		r = publisher_new(blocking->base, &publisher, NULL, on_done, blocking, &blocking->publisher, err);
	if (r == 0)
		r = submit(blocking, &nothing,
			   err); /* batches wait for init_transactions: when it is done, so is that */
	if (r < 0)
		return r;
	*ret = TAKE_PTR(blocking);
	return 0;
}

int blocking_publisher_publish(struct blocking_publisher *blocking, const struct blocking_batch *batch, struct err *err)
{
	const struct publish_batch all = { .messages = batch->messages,
					   .n_messages = batch->n_messages,
					   .offsets = batch->offsets,
					   .n_offsets = batch->n_offsets };

	return submit(blocking, &all, err);
}

void blocking_publisher_free(struct blocking_publisher *blocking)
{
	if (!blocking)
		return;
	publisher_free(blocking->publisher);
	timer_free(blocking->late);
	if (blocking->base)
		event_base_free(blocking->base);
	free(blocking);
}
