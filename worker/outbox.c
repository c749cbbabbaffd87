/* Theory of operation
 *
 *	            .-----------------(aborted, refused)------------.
 *	            v                                               |
 *	add --> waiting --(gather: a batch)--> in_flight --(committed)--> told, gone
 *	          |  ^
 *	          |  `--(some seconds)-- untellable
 *	          |                          ^
 *	          |--(no shorter form)-------'
 *	          `--(the partition is another's, the lease is over)--> dropped, gone
 *
 * One batch is in flight at a time; while it is being committed the next one collects: group commit without a timer.
 * Every item is in exactly one of the three lists, and the outbox owns its messages until it is gone. Its owner hears
 * then, once, how it ended.
 *
 * waiting: in order of arrival. Whether an item may still be told is looked at when it is gathered, never remembered:
 * after each batch that failed, time has passed and partitions may have moved.
 *
 * in_flight: the publisher's thread reads these messages, so nothing of them may change. What they make done is only
 * planned (partition_plan()): a mark is set when the commit is known to have happened, and not before. A batch that
 * failed goes back to the front of waiting as a whole.
 *
 * untellable: a message was refused in its shortest form. Its record stays open, and so do its offset and its lease. */
#include "worker/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#define BATCH_MAX_ITEMS 5000            /* answers of one transaction: measured optimum 1,000 to 5,000 */
#define BATCH_MAX_MESSAGES (2 * BATCH_MAX_ITEMS)
#define BATCH_CAREFUL_ITEMS 200         /* of one after a refusal, when they may go one by one: a second or so */
#define BATCH_MAX_BYTES (32u << 20)     /* of one transaction: bounds what waits in the producer's queue */
#define RETRY_MS 20                     /* after an aborted transaction; doubled for each that follows, up to: */
#define RETRY_MAX_MS 1000
#define OBSTACLES_KEPT 4                /* ways in which one shows */
#define UNTELLABLE_MS 5000              /* until a result whose shortest form was refused is tried again */

struct outbox {
	struct publisher *publisher;
	struct partitions *partitions;
	struct outbox_item_list waiting, in_flight, untellable; /* untellable: until the timer `again` */
	struct event *pump, *retry, *again;
	bool is_retrying;
	uint64_t obstacles[OBSTACLES_KEPT]; /* log_likeness() of why batches were not committed since one was; 0: none */
	size_t n_obstacles;
	unsigned retry_ms;
	size_t batch_items; /* at most, now */
	size_t backlog_bytes; /* of what waits or is in flight */
	struct publish_batch batch;
	struct publish_message *messages; /* BATCH_MAX_MESSAGES */
	struct publish_offset offsets[PARTITIONS_MAX];
	void (*on_plan)(void *ctx);
	void (*on_fenced)(void *ctx, const char *why);
	void *ctx;
};

/* It ended, one way or the other. */
static void end_item(struct outbox *outbox, struct outbox_item *item, bool is_told)
{
	outbox->backlog_bytes -= item->bytes;
	if (item->fn)
		item->fn(item->ctx, is_told);
	outbox_item_free(item);
}

/* What its topic does not take must not hold up the others. false: it is not to be told now, and waits elsewhere. */
static bool is_tellable(struct outbox *outbox, struct outbox_item *item)
{
	const struct timeval delay = { .tv_sec = UNTELLABLE_MS / 1000 };
	size_t before = item->bytes;
	bool result = outbox_item_take_refusals(item);

	outbox->backlog_bytes -= before - item->bytes;
	if (result)
		return true;
	STAILQ_INSERT_TAIL(&outbox->untellable, item, link);
	(void)event_add(outbox->again, &delay); /* a timer that exists needs no memory */
	return false;
}

static void plan_letter(struct outbox *outbox, struct outbox_letter *letter)
{
	const struct outbox_message *message = &letter->message;

	outbox->messages[outbox->batch.n_messages++] = (struct publish_message){
		.topic = message->topic, .key = message->key, .key_len = message->key_len, .data = message->data.data,
		.len = message->data.len, .headers = message->headers, .is_refused = &letter->is_refused
	};
}

static void plan_item(struct outbox *outbox, struct outbox_item *item, struct partition *partition)
{
	for (size_t i = 0; i < item->n; i++)
		if (!item->letters[i].is_left_out)
			plan_letter(outbox, &item->letters[i]);
	if (item->is_range)
		partition_plan_range(partition, item->source.place.offset, item->to);
	else
		partition_plan(partition, item->source.place.offset);
	STAILQ_INSERT_TAIL(&outbox->in_flight, item, link);
}

static void plan_offsets(struct outbox *outbox)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(outbox->partitions, &cursor))) {
		const struct partition_position *planned;

		if (!partition->has_plan)
			continue;
		planned = partition_planned(partition);
		outbox->offsets[outbox->batch.n_offsets++] = (struct publish_offset){
			.topic = partition->topic, .partition = partition->id, .next = planned->committed, .metadata = planned->metadata
		};
	}
}

static struct partition *partition_of(const struct outbox *outbox, const struct outbox_item *item)
{
	const struct record_place *place = &item->source.place;

	return partitions_find_epoch(outbox->partitions, place->topic, place->partition, item->source.epoch);
}

/* Move what waits into the batch, dropping what is not ours any more. */
static void gather(struct outbox *outbox)
{
	uint64_t now = clock_mono_ms();
	struct outbox_item *item;
	size_t bytes = 0, n = 0;

	outbox->batch.n_messages = outbox->batch.n_offsets = 0;
	while ((item = STAILQ_FIRST(&outbox->waiting)) && n < outbox->batch_items && bytes < BATCH_MAX_BYTES &&
	       outbox->batch.n_messages + item->n <= BATCH_MAX_MESSAGES) {
		struct partition *partition = partition_of(outbox, item);

		STAILQ_REMOVE_HEAD(&outbox->waiting, link);
		if (!partition || (item->lease_ends_mono_ms && now >= *item->lease_ends_mono_ms)) {
			end_item(outbox, item, false);
			continue;
		}
		if (!is_tellable(outbox, item))
			continue;
		bytes += item->bytes;
		n++;
		plan_item(outbox, item, partition);
	}
	plan_offsets(outbox);
}

void outbox_pump(struct outbox *outbox)
{
	if (STAILQ_EMPTY(&outbox->waiting) || !STAILQ_EMPTY(&outbox->in_flight) || outbox->is_retrying ||
	    partitions_are_suspended(outbox->partitions))
		return;
	outbox->on_plan(outbox->ctx);
	gather(outbox);
	if (!STAILQ_EMPTY(&outbox->in_flight))
		publisher_submit(outbox->publisher, &outbox->batch);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	outbox_pump(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct outbox *outbox = arg;

	(void)fd;
	(void)what;
	outbox->is_retrying = false;
	outbox_pump(outbox);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct outbox *outbox = arg;

	(void)fd;
	(void)what;
	STAILQ_CONCAT(&outbox->waiting, &outbox->untellable);
	outbox_pump(outbox);
}

static void end_plans(struct outbox *outbox, bool is_committed)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(outbox->partitions, &cursor)))
		if (partition->has_plan)
			partition_end_plan(partition, is_committed);
}

static void mark_done(struct outbox *outbox, const struct outbox_item *item)
{
	struct partition *partition = partition_of(outbox, item);

	if (partition && item->is_range)
		partition_range_is_done(partition, item->source.place.offset, item->to);
	else if (partition)
		offsets_done(partition->offsets, item->source.place.offset);
}

static void on_committed(struct outbox *outbox)
{
	struct outbox_item_list told;

	end_plans(outbox, true);
	memset(outbox->obstacles, 0, sizeof(outbox->obstacles));
	outbox->retry_ms = RETRY_MS;
	if (outbox->batch_items < BATCH_MAX_ITEMS)
		outbox->batch_items += BATCH_CAREFUL_ITEMS;
	STAILQ_INIT(&told);
	STAILQ_CONCAT(&told, &outbox->in_flight);
	while (!STAILQ_EMPTY(&told)) {
		struct outbox_item *item = STAILQ_FIRST(&told);

		STAILQ_REMOVE_HEAD(&told, link);
		mark_done(outbox, item);
		end_item(outbox, item, true);
	}
	outbox_pump(outbox);
}

static void take_back(struct outbox *outbox)
{
	end_plans(outbox, false);
	STAILQ_CONCAT(&outbox->in_flight, &outbox->waiting);
	STAILQ_CONCAT(&outbox->waiting, &outbox->in_flight);
}

static void on_refused(struct outbox *outbox)
{
	take_back(outbox);
	outbox->batch_items = BATCH_CAREFUL_ITEMS;
	outbox_pump(outbox);
}

static void on_aborted(struct outbox *outbox)
{
	const struct timeval delay = { .tv_sec = outbox->retry_ms / 1000, .tv_usec = outbox->retry_ms % 1000 * 1000 };

	take_back(outbox);
	outbox->retry_ms = outbox->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : outbox->retry_ms * 2;
	outbox->is_retrying = true;
	(void)event_add(outbox->retry, &delay); /* a timer that exists needs no memory */
}

/* One obstacle shows in several ways, by turns: which step meets it first depends on what is in flight. */
static bool is_new_obstacle(struct outbox *outbox, const char *why)
{
	uint64_t likeness = log_likeness(why);

	for (size_t i = 0; i < OBSTACLES_KEPT; i++)
		if (outbox->obstacles[i] == likeness)
			return false;
	outbox->obstacles[outbox->n_obstacles++ % OBSTACLES_KEPT] = likeness;
	return true;
}

/* Aloud once, and tried again for as long as it lasts. */
static void tell_obstacle(struct outbox *outbox, const char *why)
{
	enum log_level level = is_new_obstacle(outbox, why) ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG;

	log_event(level, "outbox.aborted", "message=\"%s\"", why);
}

static void on_done(void *ctx, enum publish_verdict verdict, const char *why)
{
	struct outbox *outbox = ctx;

	switch (verdict) {
	case PUBLISH_VERDICT_COMMITTED:
		on_committed(outbox);
		return;
	case PUBLISH_VERDICT_ABORTED:
		tell_obstacle(outbox, why);
		on_aborted(outbox);
		return;
	case PUBLISH_VERDICT_REFUSED:
		log_debug("outbox.refused", "message=\"%s\"", why);
		on_refused(outbox);
		return;
	case PUBLISH_VERDICT_FENCED:
		outbox->on_fenced(outbox->ctx, why);
		return;
	case PUBLISH_VERDICT_COUNT:
		assert(false);
	}
}

int outbox_new(struct event_base *base, const struct outbox_config *config, struct consumer *consumer,
	       struct partitions *partitions, void (*on_fenced)(void *ctx, const char *why), void *ctx,
	       struct outbox **ret, struct err *err)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));
	int r;

	if (!outbox)
		return err_set(err, ERR_HOST, ENOMEM, "an outbox");
	STAILQ_INIT(&outbox->waiting);
	STAILQ_INIT(&outbox->in_flight);
	STAILQ_INIT(&outbox->untellable);
	outbox->retry_ms = RETRY_MS;
	outbox->batch_items = BATCH_MAX_ITEMS;
	outbox->partitions = partitions;
	outbox->on_plan = config->on_plan;
	outbox->on_fenced = on_fenced;
	outbox->ctx = ctx;
	outbox->messages = calloc(BATCH_MAX_MESSAGES, sizeof(*outbox->messages));
	outbox->pump = event_new(base, -1, 0, on_pump, outbox);
	outbox->retry = evtimer_new(base, on_retry, outbox);
	outbox->again = evtimer_new(base, on_again, outbox);
	outbox->batch.messages = outbox->messages;
	outbox->batch.offsets = outbox->offsets;
	r = outbox->messages && outbox->pump && outbox->retry && outbox->again ?
		    0 :
		    err_set(err, ERR_HOST, ENOMEM, "an outbox");
	if (r == 0)
		r = publisher_new(base, &config->publisher, consumer, on_done, outbox,
				  &outbox->publisher, err);
	if (r < 0) {
		outbox_free(outbox);
		return r;
	}
	*ret = outbox;
	return 0;
}

/* NULL: out of memory. */
static struct outbox_item *add(struct outbox *outbox, const struct outbox_source *source,
			       struct outbox_message *messages, size_t n)
{
	struct outbox_item *item = outbox_item_new(source, messages, n);

	if (!item)
		return NULL;
	outbox->backlog_bytes += item->bytes;
	STAILQ_INSERT_TAIL(&outbox->waiting, item, link);
	event_active(outbox->pump, EV_TIMEOUT, 0);
	return item;
}

int outbox_add(struct outbox *outbox, const struct outbox_source *source, struct outbox_message *messages, size_t n,
	       const uint64_t *lease_ends_mono_ms, outbox_fn fn, void *ctx)
{
	struct outbox_item *item = add(outbox, source, messages, n);

	if (!item)
		return -ENOMEM;
	item->lease_ends_mono_ms = lease_ends_mono_ms;
	item->fn = fn;
	item->ctx = ctx;
	return 0;
}

int outbox_add_range(struct outbox *outbox, const struct outbox_source *source, int64_t to,
		     struct outbox_message *messages, size_t n)
{
	struct outbox_item *item = add(outbox, source, messages, n);

	if (!item)
		return -ENOMEM;
	item->is_range = true;
	item->to = to;
	return 0;
}

size_t outbox_backlog(const struct outbox *outbox)
{
	return outbox->backlog_bytes;
}

bool outbox_is_idle(const struct outbox *outbox)
{
	return STAILQ_EMPTY(&outbox->waiting) && STAILQ_EMPTY(&outbox->in_flight) && STAILQ_EMPTY(&outbox->untellable);
}

static void free_list(struct outbox_item_list *list)
{
	while (!STAILQ_EMPTY(list)) {
		struct outbox_item *item = STAILQ_FIRST(list);

		STAILQ_REMOVE_HEAD(list, link);
		outbox_item_free(item);
	}
}

void outbox_free(struct outbox *outbox)
{
	if (!outbox)
		return;
	publisher_free(outbox->publisher);
	free_list(&outbox->waiting);
	free_list(&outbox->in_flight);
	free_list(&outbox->untellable);
	if (outbox->pump)
		event_free(outbox->pump);
	if (outbox->retry)
		event_free(outbox->retry);
	if (outbox->again)
		event_free(outbox->again);
	free(outbox->messages);
	free(outbox);
}
