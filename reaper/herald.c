#include "reaper/herald.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>

#include "loop/timer.h"

struct herald {
	struct event_base *base;
	struct publisher *publisher;
	struct timer *late;
	unsigned timeout_ms;
	bool is_done;
	enum publish_verdict verdict;
	char why[160];
};

void herald_batch_add(struct herald_batch *batch, const char *topic, const char *key, struct buf *data)
{
	assert(batch->n_messages < REAP_BATCH_MAX);
	batch->messages[batch->n_messages++] = (struct publish_message){
		.topic = topic, .key = key, .key_len = strlen(key), .data = data->data, .len = data->len
	};
	*data = (struct buf){ 0 };
}

void herald_batch_commit(struct herald_batch *batch, int32_t partition, int64_t next, const char *metadata)
{
	assert(batch->n_offsets < REAP_BATCH_MAX);
	batch->offsets[batch->n_offsets++] =
		(struct publish_offset){ .partition = partition, .next = next, .metadata = metadata };
}

void herald_batch_clear(struct herald_batch *batch)
{
	for (size_t i = 0; i < batch->n_messages; i++)
		free((void *)(uintptr_t)batch->messages[i].data);
	*batch = (struct herald_batch){ 0 };
}

static void on_done(void *ctx, enum publish_verdict verdict, const char *why)
{
	struct herald *herald = ctx;

	herald->is_done = true;
	herald->verdict = verdict;
	(void)snprintf(herald->why, sizeof(herald->why), "%.150s", why);
	(void)event_base_loopbreak(herald->base); /* fails only without a base */
}

static void on_late(void *ctx)
{
	struct herald *herald = ctx;

	(void)event_base_loopbreak(herald->base); /* fails only without a base */
}

static int submit(struct herald *herald, const struct publish_batch *batch, struct err *err)
{
	int r;

	herald->is_done = false;
	publisher_submit(herald->publisher, batch);
	timer_set_ms(herald->late, herald->timeout_ms);
	r = event_base_dispatch(herald->base);
	timer_stop(herald->late);
	if (r < 0)
		return err_set(err, ERR_HOST, 0, "the loop that waits for Kafka failed");
	if (!herald->is_done) {
		publisher_free(TAKE_PTR(herald->publisher)); /* its thread has the batch, which is the caller's again from here */
		return err_set(err, ERR_BUSY, ETIMEDOUT, "Kafka did not answer the reaper's transaction in %u ms",
			       herald->timeout_ms);
	}
	if (herald->verdict == PUBLISH_VERDICT_COMMITTED)
		return 0;
	return err_set(err, ERR_BUSY, EAGAIN, "the reaper's transaction was %s (%s)",
		       herald->verdict == PUBLISH_VERDICT_FENCED ? "fenced by another reaper" : "aborted", herald->why);
}

int herald_new(const struct herald_config *config, struct herald **ret, struct err *err)
{
	const struct publisher_config publisher = { .brokers = config->brokers,
						    .transactional_id = config->group,
						    .group = config->group,
						    .source_topic = config->source_topic,
						    .transaction_timeout_ms = config->timeout_ms };
	const struct publish_batch nothing = { 0 };
	cleanup_(herald_freep) struct herald *herald = calloc(1, sizeof(*herald));
	int r;

	if (!herald)
		return err_set(err, ERR_HOST, ENOMEM, "a producer for the reaper");
	herald->timeout_ms = config->timeout_ms;
	herald->base = event_base_new();
	if (!herald->base)
		return err_set(err, ERR_HOST, ENOMEM, "a producer for the reaper");
	r = timer_new(herald->base, on_late, herald, &herald->late, err);
	if (r == 0)
		r = publisher_new(herald->base, &publisher, NULL, on_done, herald, &herald->publisher, err);
	if (r == 0)
		r = submit(herald, &nothing, err); /* batches wait for init_transactions: when it is done, so is that */
	if (r < 0)
		return r;
	*ret = TAKE_PTR(herald);
	return 0;
}

int herald_publish(struct herald *herald, const struct herald_batch *batch, struct err *err)
{
	const struct publish_batch all = { .messages = batch->messages,
					   .n_messages = batch->n_messages,
					   .offsets = batch->offsets,
					   .n_offsets = batch->n_offsets };

	return submit(herald, &all, err);
}

void herald_free(struct herald *herald)
{
	if (!herald)
		return;
	publisher_free(herald->publisher);
	timer_free(herald->late);
	if (herald->base)
		event_base_free(herald->base);
	free(herald);
}
