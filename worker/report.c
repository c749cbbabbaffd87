#include "worker/report.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"
#include "wire/result.h"

#define BATCH_MAX_ITEMS 5000            /* results of one transaction: measured optimum 1,000 to 5,000 */
#define BATCH_CAREFUL_ITEMS 200         /* of one after a refusal, when they may go one by one: a second or so */
#define BATCH_MAX_BYTES (32u << 20)     /* of one transaction: bounds what waits in the producer's queue */
#define RETRY_MS 20                     /* after an aborted transaction; doubled for each that follows, up to: */
#define RETRY_MAX_MS 1000
#define OBSTACLES_KEPT 4                /* ways in which one shows */
#define UNTELLABLE_MS 5000              /* until a result whose shortest form was refused is tried again */

struct item {
	STAILQ_ENTRY(item) link;
	struct report_source source;
	char key[IDENT_ID_MAX + 1];
	struct buf result;
	struct dead_letter *dead;
	struct publish_origin origin; /* of the dead letter */
	bool is_dead_refused, is_result_refused;
	bool is_range; /* of offsets, instead of an answer to one: */
	struct partition_loss range;
	struct publish_loss loss; /* if any of it is lost */
	const uint64_t *lease_ends_mono_ms; /* NULL: it has none */
	report_fn fn;
	void *ctx;
};

STAILQ_HEAD(item_list, item);

struct report {
	struct publisher *publisher;
	struct partitions *partitions;
	const struct topics *topics;
	struct item_list waiting, in_flight, untellable; /* untellable: until the timer `again` */
	struct event *pump, *retry, *again;
	bool is_retrying;
	uint64_t obstacles[OBSTACLES_KEPT]; /* log_likeness() of why batches were not committed since one was; 0: none */
	size_t n_obstacles;
	unsigned retry_ms;
	size_t batch_items; /* at most, now */
	size_t backlog_bytes; /* of what waits or is in flight */
	struct publish_batch batch;
	struct publish_message *messages; /* BATCH_MAX_ITEMS * 2: a result and perhaps a dead letter each */
	struct publish_offset offsets[PARTITIONS_MAX];
	void (*on_plan)(void *ctx);
	void (*on_fenced)(void *ctx, const char *why);
	void *ctx;
};

static void item_free(struct item *item)
{
	buf_free(&item->result);
	free(item->dead);
	free(item);
}

static size_t bytes_of(const struct item *item)
{
	return item->result.len + (item->dead ? dead_letter_size(item->dead) : 0);
}

static void settle(struct report *report, struct item *item, bool is_told)
{
	report->backlog_bytes -= bytes_of(item);
	if (item->fn)
		item->fn(item->ctx, is_told);
	item_free(item);
}

static void add_result(struct report *report, struct item *item)
{
	report->messages[report->batch.n_messages++] = (struct publish_message){
		.topic = report->topics->results, .key = item->key, .key_len = strlen(item->key), .data = item->result.data,
		.len = item->result.len, .is_refused = &item->is_result_refused
	};
}

static void add_dead_letter(struct report *report, struct item *item)
{
	item->origin = (struct publish_origin){ .topic = report->topics->tasks, .partition = item->source.partition,
						.offset = item->source.offset };
	report->messages[report->batch.n_messages++] = (struct publish_message){
		.topic = report->topics->dead, .key = dead_letter_key(item->dead), .key_len = item->dead->key_len,
		.data = dead_letter_value(item->dead), .len = item->dead->len, .origin = &item->origin,
		.is_refused = &item->is_dead_refused
	};
}

/* A dead letter that its topic does not take must not hold up everybody's results: the record stays where it came from. */
static bool has_dead_letter(const struct report *report, const struct item *item)
{
	if (item->is_range && item->is_dead_refused)
		log_error("report.dead", "partition=%d first=%lld last=%lld message=\"topic '%s' refuses even the few bytes that say that these "
			  "records of '%s' are lost; raise max.message.bytes of '%s'\"",
			  item->source.partition, (long long)item->range.first, (long long)item->range.last, report->topics->dead,
			  report->topics->tasks, report->topics->dead);
	if (!item->dead)
		return false;
	if (item->is_dead_refused)
		log_error("report.dead", "partition=%d offset=%lld bytes=%zu message=\"topic '%s' refuses this dead letter for its "
			  "size; its record stays in '%s'; raise max.message.bytes of '%s'\"",
			  item->source.partition, (long long)item->source.offset, dead_letter_size(item->dead), report->topics->dead,
			  report->topics->tasks, report->topics->dead);
	return !item->is_dead_refused;
}

/* Without key and value: what a sender wrote cannot look like it, for no header of a sender's is copied. */
static void add_loss(struct report *report, struct item *item)
{
	item->origin = (struct publish_origin){ .topic = report->topics->tasks, .partition = item->source.partition,
						.offset = item->range.first };
	item->loss = (struct publish_loss){ .last = item->range.last, .records = item->range.records };
	report->messages[report->batch.n_messages++] = (struct publish_message){
		.topic = report->topics->dead, .origin = &item->origin, .loss = &item->loss, .is_refused = &item->is_dead_refused
	};
}

static void warn_of_refusal(const struct report *report, const struct item *item, const char *what)
{
	log_error("report.result", "id=%s partition=%d offset=%lld bytes=%zu message=\"topic '%s' refuses this result for its size; %s; "
		  "raise max.message.bytes of '%s'\"", item->key, item->source.partition, (long long)item->source.offset,
		  item->result.len, report->topics->results, what, report->topics->results);
}

/* false: no form of it is shorter (the note takes room, too), or there is no memory for one. */
static bool shorten(struct report *report, struct item *item)
{
	for (int form = RESULT_FORM_SHORT; form < RESULT_FORM_COUNT; form++) {
		struct buf shorter = { 0 };

		if (result_shorten(&item->result, (enum result_form)form, item->result.len, &shorter) < 0 ||
		    shorter.len >= item->result.len) {
			buf_free(&shorter);
			continue;
		}
		warn_of_refusal(report, item, "it is told in a shorter form");
		report->backlog_bytes -= item->result.len - shorter.len;
		buf_free(&item->result);
		item->result = shorter;
		return true;
	}
	return false;
}

/* A result that its topic does not take must not hold up the others. false: not now. */
static bool is_tellable(struct report *report, struct item *item)
{
	const struct timeval delay = { .tv_sec = UNTELLABLE_MS / 1000 };

	if (!item->is_result_refused)
		return true;
	item->is_result_refused = false;
	if (shorten(report, item))
		return true;
	warn_of_refusal(report, item, "it is the shortest form; the task stays untold, and is tried again");
	STAILQ_INSERT_TAIL(&report->untellable, item, link);
	(void)event_add(report->again, &delay); /* a timer that exists needs no memory */
	return false;
}

static void add_item(struct report *report, struct item *item, struct partition *partition)
{
	if (item->result.len)
		add_result(report, item);
	if (has_dead_letter(report, item))
		add_dead_letter(report, item);
	if (item->is_range && item->range.records && !item->is_dead_refused)
		add_loss(report, item);
	if (item->is_range)
		partition_plan_range(partition, item->range.from, item->range.to);
	else
		partition_plan(partition, item->source.offset);
	STAILQ_INSERT_TAIL(&report->in_flight, item, link);
}

static void add_offsets(struct report *report)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(report->partitions, &cursor))) {
		const struct partition_position *planned;

		if (!partition->has_plan)
			continue;
		planned = partition_planned(partition);
		report->offsets[report->batch.n_offsets++] = (struct publish_offset){
			.partition = partition->id, .next = planned->committed, .metadata = planned->metadata
		};
	}
}

/* Move what waits into the batch, dropping what is not ours any more. */
static void gather(struct report *report)
{
	uint64_t now = clock_mono_ms();
	size_t bytes = 0;
	size_t n = 0;

	report->batch.n_messages = report->batch.n_offsets = 0;
	while (!STAILQ_EMPTY(&report->waiting) && n < report->batch_items && bytes < BATCH_MAX_BYTES) {
		struct item *item = STAILQ_FIRST(&report->waiting);
		struct partition *partition = partitions_find_epoch(report->partitions, item->source.partition,
								    item->source.epoch);

		STAILQ_REMOVE_HEAD(&report->waiting, link);
		if (!partition || (item->lease_ends_mono_ms && now >= *item->lease_ends_mono_ms)) {
			settle(report, item, false);
			continue;
		}
		if (!is_tellable(report, item))
			continue;
		bytes += bytes_of(item);
		n++;
		add_item(report, item, partition);
	}
	add_offsets(report);
}

void report_pump(struct report *report)
{
	if (STAILQ_EMPTY(&report->waiting) || !STAILQ_EMPTY(&report->in_flight) || report->is_retrying ||
	    partitions_are_suspended(report->partitions))
		return;
	report->on_plan(report->ctx);
	gather(report);
	if (!STAILQ_EMPTY(&report->in_flight))
		publisher_submit(report->publisher, &report->batch);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	report_pump(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct report *report = arg;

	(void)fd;
	(void)what;
	report->is_retrying = false;
	report_pump(report);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct report *report = arg;

	(void)fd;
	(void)what;
	STAILQ_CONCAT(&report->waiting, &report->untellable);
	report_pump(report);
}

static void end_plans(struct report *report, bool is_committed)
{
	struct partition *partition;
	size_t cursor = 0;

	while ((partition = partitions_next(report->partitions, &cursor)))
		if (partition->has_plan)
			partition_end_plan(partition, is_committed);
}

static void mark_done(struct report *report, const struct item *item)
{
	struct partition *partition =
		partitions_find_epoch(report->partitions, item->source.partition, item->source.epoch);

	if (partition && item->is_range)
		partition_range_is_done(partition, item->range.from, item->range.to);
	else if (partition)
		offsets_done(partition->offsets, item->source.offset);
}

static void on_committed(struct report *report)
{
	struct item_list told;

	end_plans(report, true);
	memset(report->obstacles, 0, sizeof(report->obstacles));
	report->retry_ms = RETRY_MS;
	if (report->batch_items < BATCH_MAX_ITEMS)
		report->batch_items += BATCH_CAREFUL_ITEMS;
	STAILQ_INIT(&told);
	STAILQ_CONCAT(&told, &report->in_flight);
	while (!STAILQ_EMPTY(&told)) {
		struct item *item = STAILQ_FIRST(&told);

		STAILQ_REMOVE_HEAD(&told, link);
		mark_done(report, item);
		settle(report, item, true);
	}
	report_pump(report);
}

static void take_back(struct report *report)
{
	end_plans(report, false);
	STAILQ_CONCAT(&report->in_flight, &report->waiting);
	STAILQ_CONCAT(&report->waiting, &report->in_flight);
}

static void on_refused(struct report *report)
{
	take_back(report);
	report->batch_items = BATCH_CAREFUL_ITEMS;
	report_pump(report);
}

static void on_aborted(struct report *report)
{
	const struct timeval delay = { .tv_sec = report->retry_ms / 1000, .tv_usec = report->retry_ms % 1000 * 1000 };

	take_back(report);
	report->retry_ms = report->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : report->retry_ms * 2;
	report->is_retrying = true;
	(void)event_add(report->retry, &delay); /* a timer that exists needs no memory */
}

/* One obstacle shows in several ways, by turns: which step meets it first depends on what is in flight. */
static bool is_new_obstacle(struct report *report, const char *why)
{
	uint64_t likeness = log_likeness(why);

	for (size_t i = 0; i < OBSTACLES_KEPT; i++)
		if (report->obstacles[i] == likeness)
			return false;
	report->obstacles[report->n_obstacles++ % OBSTACLES_KEPT] = likeness;
	return true;
}

/* Aloud once, and tried again for as long as it lasts. */
static void tell_obstacle(struct report *report, const char *why)
{
	enum log_level level = is_new_obstacle(report, why) ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG;

	log_event(level, "report.aborted", "message=\"%s\"", why);
}

static void on_done(void *ctx, enum publish_verdict verdict, const char *why)
{
	struct report *report = ctx;

	switch (verdict) {
	case PUBLISH_VERDICT_COMMITTED:
		on_committed(report);
		return;
	case PUBLISH_VERDICT_ABORTED:
		tell_obstacle(report, why);
		on_aborted(report);
		return;
	case PUBLISH_VERDICT_REFUSED:
		log_debug("report.refused", "message=\"%s\"", why);
		on_refused(report);
		return;
	case PUBLISH_VERDICT_FENCED:
		report->on_fenced(report->ctx, why);
		return;
	case PUBLISH_VERDICT_COUNT:
		assert(false);
	}
}

int report_new(struct event_base *base, const struct report_config *config, struct consumer *consumer,
	       struct partitions *partitions, void (*on_fenced)(void *ctx, const char *why), void *ctx,
	       struct report **ret, struct err *err)
{
	struct report *report = calloc(1, sizeof(*report));
	int r;

	if (!report)
		return err_set(err, ERR_HOST, ENOMEM, "reports");
	STAILQ_INIT(&report->waiting);
	STAILQ_INIT(&report->in_flight);
	STAILQ_INIT(&report->untellable);
	report->retry_ms = RETRY_MS;
	report->batch_items = BATCH_MAX_ITEMS;
	report->topics = config->topics;
	report->partitions = partitions;
	report->on_plan = config->on_plan;
	report->on_fenced = on_fenced;
	report->ctx = ctx;
	report->messages = calloc((size_t)BATCH_MAX_ITEMS * 2, sizeof(*report->messages));
	report->pump = event_new(base, -1, 0, on_pump, report);
	report->retry = evtimer_new(base, on_retry, report);
	report->again = evtimer_new(base, on_again, report);
	report->batch.messages = report->messages;
	report->batch.offsets = report->offsets;
	r = report->messages && report->pump && report->retry && report->again ? 0 : err_set(err, ERR_HOST, ENOMEM, "reports");
	if (r == 0)
		r = publisher_new(base, &config->publisher, consumer, on_done, report,
				  &report->publisher, err);
	if (r < 0) {
		report_free(report);
		return r;
	}
	*ret = report;
	return 0;
}

int report_add(struct report *report, const struct report_source *source, const char *key, struct buf *result,
	       struct dead_letter *dead, const uint64_t *lease_ends_mono_ms, report_fn fn, void *ctx)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->source = *source;
	(void)snprintf(item->key, sizeof(item->key), "%s", key);
	item->result = *result;
	*result = (struct buf){ 0 };
	item->dead = dead;
	item->lease_ends_mono_ms = lease_ends_mono_ms;
	item->fn = fn;
	item->ctx = ctx;
	report->backlog_bytes += bytes_of(item);
	STAILQ_INSERT_TAIL(&report->waiting, item, link);
	event_active(report->pump, EV_TIMEOUT, 0);
	return 0;
}

int report_add_range(struct report *report, const struct partition *partition, const struct partition_loss *loss)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->source = (struct report_source){ .partition = partition->id, .epoch = partition->epoch, .offset = loss->first };
	item->is_range = true;
	item->range = *loss;
	STAILQ_INSERT_TAIL(&report->waiting, item, link);
	event_active(report->pump, EV_TIMEOUT, 0);
	return 0;
}

size_t report_backlog(const struct report *report)
{
	return report->backlog_bytes;
}

bool report_is_idle(const struct report *report)
{
	return STAILQ_EMPTY(&report->waiting) && STAILQ_EMPTY(&report->in_flight) && STAILQ_EMPTY(&report->untellable);
}

static void free_list(struct item_list *list)
{
	while (!STAILQ_EMPTY(list)) {
		struct item *item = STAILQ_FIRST(list);

		STAILQ_REMOVE_HEAD(list, link);
		item_free(item);
	}
}

void report_free(struct report *report)
{
	if (!report)
		return;
	publisher_free(report->publisher);
	free_list(&report->waiting);
	free_list(&report->in_flight);
	free_list(&report->untellable);
	if (report->pump)
		event_free(report->pump);
	if (report->retry)
		event_free(report->retry);
	if (report->again)
		event_free(report->again);
	free(report->messages);
	free(report);
}
