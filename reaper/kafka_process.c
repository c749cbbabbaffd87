#include "reaper/kafka_process.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/positions.h"
#include "bus/topics.h"
#include "reaper/blocking_publisher.h"
#include "wire/ledger.h"
#include "wire/result.h"
#include "wire/offsets.h"

#define KAFKA_TIMEOUT_MS 10000
/* After Kafka did not answer, every request fails at once for so long: erasing must not wait for it. */
#define AWAY_MS	   5000
#define TELL_TRIES 3 /* of a transaction that was aborted or fenced by another reaper */

struct kafka_process {
	const struct reaper_settings *settings;
	struct topics topics;
	char ledger_group[CONF_TEXT_MAX + 16];
	struct positions *workers; /* what workers committed */
	struct positions *ledger;  /* what reapers committed */
	struct blocking_publisher *publisher;	   /* NULL: no producer now */
	uint64_t away_until_mono_ms;
};

/* One partition of the request at hand. */
struct page {
	int32_t partition;
	struct offsets *done; /* by workers */
	struct ledger ledger;
	char metadata[LEDGER_TEXT_MAX + 1];
	bool is_touched;
};

struct pages {
	struct page *pages;
	size_t n;
};

static void pages_free(struct pages *pages)
{
	for (size_t i = 0; i < pages->n; i++)
		offsets_free(pages->pages[i].done);
	free(pages->pages);
	*pages = (struct pages){ 0 };
}

static struct page *pages_find(const struct pages *pages, int32_t partition)
{
	for (size_t i = 0; i < pages->n; i++)
		if (pages->pages[i].partition == partition)
			return &pages->pages[i];
	return NULL;
}

static bool is_done(void *ctx, int64_t offset)
{
	const struct page *page = ctx;

	return offsets_is_done(page->done, offset);
}

static int page_fill(struct page *page, const struct position *position, struct err *err)
{
	page->partition = position->partition;
	page->done = offsets_new(position->next < 0 ? 0 : position->next, position->metadata);
	return page->done ? 0 : err_set(err, ERR_HOST, ENOMEM, "offsets of partition %d", position->partition);
}

/* What the workers have marked done in every partition of the request. */
static int read_workers(struct kafka_process *kafka, const struct kafka_request *request, struct pages *ret, struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	cleanup_(pages_free) struct pages pages = { .pages = calloc(REAP_BATCH_MAX, sizeof(struct page)) };
	size_t n = 0;
	int r;

	if (!positions || !pages.pages)
		return err_set(err, ERR_HOST, ENOMEM, "look up committed offsets");
	for (uint32_t i = 0; i < request->n; i++) {
		size_t at = 0;

		while (at < n && positions[at].partition != request->items[i].lease.partition)
			at++;
		if (at == n)
			positions[n++].partition = request->items[i].lease.partition;
	}
	r = positions_read(kafka->workers, kafka->topics.tasks, positions, n, KAFKA_TIMEOUT_MS, err);
	for (size_t i = 0; i < n && r == 0; i++, pages.n++)
		r = page_fill(&pages.pages[i], &positions[i], err);
	if (r < 0)
		return r;
	*ret = pages;
	pages = (struct pages){ 0 };
	return 0;
}

/* Fill what is known; an item of a topic that is not ours keeps FAILED. */
static void judge(const struct kafka_process *kafka, const struct kafka_request *request, const struct pages *pages,
		  struct kafka_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (strcmp(lease->topic, kafka->topics.tasks) != 0) {
			reply->verdicts[i] = KAFKA_VERDICT_FAILED;
			(void)snprintf(reply->error, sizeof(reply->error),
				       "lease %s is for topic %.48s, not %.48s: do two fleets share a Redis prefix?",
				       lease->id, lease->topic, kafka->topics.tasks);
			continue;
		}
		reply->verdicts[i] = is_done(pages_find(pages, lease->partition), lease->offset)
					     ? KAFKA_VERDICT_TOLD
					     : KAFKA_VERDICT_NOT_TOLD;
	}
}

static int lookup(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		  struct err *err)
{
	cleanup_(pages_free) struct pages pages = { 0 };
	int r = read_workers(kafka, request, &pages, err);

	if (r == 0)
		judge(kafka, request, &pages, reply);
	return r;
}

/* Once for all of a victim's records in this request. Not remembered beyond it: a victim that is alive after all and
 * lost its broker for a while starts its producer anew under the same id, and then is not fenced any more. */
static int fence_victim(struct kafka_process *kafka, const struct kafka_request *request, uint32_t index,
			const struct kafka_reply *reply, struct err *err)
{
	const char *victim = request->items[index].lease.victim;
	int r;

	if (strcmp(victim, "-") == 0)
		return 0;
	for (uint32_t i = 0; i < index; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD &&
		    strcmp(request->items[i].lease.victim, victim) == 0)
			return 0;
	r = publisher_fence(kafka->settings->fleet.brokers, victim, KAFKA_TIMEOUT_MS, err);
	if (r == 0)
		log_info("reaper.fenced", "owner=%s", victim);
	return r;
}

/* Look first: a worker whose finish got lost on the way to Redis has told its result and must not be fenced for it. */
static int fence(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		 struct err *err)
{
	int r = lookup(kafka, request, reply, err);

	for (uint32_t i = 0; i < request->n && r == 0; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD)
			r = fence_victim(kafka, request, i, reply, err);
	return r == 0 ? lookup(kafka, request, reply, err) : r;
}

static int read_ledger(struct kafka_process *kafka, struct pages *pages, struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	int r;

	if (!positions)
		return err_set(err, ERR_HOST, ENOMEM, "read the ledger");
	for (size_t i = 0; i < pages->n; i++)
		positions[i].partition = pages->pages[i].partition;
	r = positions_read(kafka->ledger, kafka->topics.tasks, positions, pages->n, KAFKA_TIMEOUT_MS, err);
	for (size_t i = 0; i < pages->n && r == 0; i++) {
		size_t n_before;

		if (ledger_decode(positions[i].metadata, &pages->pages[i].ledger) < 0)
			return err_set(
				err, ERR_HOST, EBADMSG,
				"group %s holds something that is no ledger in partition %d: another client uses this "
				"group; give the fleet another one",
				kafka->ledger_group, positions[i].partition);
		n_before = pages->pages[i].ledger.n;
		ledger_prune(&pages->pages[i].ledger, is_done, &pages->pages[i]);
		pages->pages[i].is_touched = pages->pages[i].ledger.n != n_before;
	}
	return r;
}

/* An owner is <worker>.<its process start>. */
static int worker_len(const char *owner)
{
	const char *dot = strrchr(owner, '.');
	size_t len = dot ? (size_t)(dot - owner) : strlen(owner);

	return len > IDENT_ID_MAX ? IDENT_ID_MAX : (int)len;
}

static void fill_message(struct result *result, const struct kafka_item *item)
{
	(void)snprintf(result->message, sizeof(result->message),
		       item->is_expired ? "ttl_ms: its workspace's life ended in attempt %u, and its worker did not tell the result%s"
					: "its worker died, in attempt %u, and no other took it in time%s",
		       item->lease.attempt,
		       item->lease.is_key_destroyed ? "" : "; nobody saw whether the key of its disk is destroyed"); /* it fits */
}

static int encode_result(const struct kafka_process *kafka, const struct kafka_item *item, struct buf *out)
{
	const struct reap_lease *lease = &item->lease;
	struct result result;
	int r;

	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	result.kind = TASK_KIND_RUN;
	result.outcome = item->is_expired ? RESULT_OUTCOME_EXPIRED : RESULT_OUTCOME_LOST;
	result.ran = RESULT_RAN_UNKNOWN;
	result.is_key_destroyed = lease->is_key_destroyed;
	result.attempt = lease->attempt;
	result.token = lease->token;
	result.partition = lease->partition;
	result.offset = lease->offset;
	result.finished_ms = clock_wall_ms();
	memcpy(result.id, lease->id, sizeof(result.id));
	(void)snprintf(result.host, sizeof(result.host), "%s", lease->host); /* both are bounded by their type */
	(void)snprintf(result.worker, sizeof(result.worker), "%.*s", worker_len(lease->victim), lease->victim);
	(void)snprintf(result.topic, sizeof(result.topic), "%.127s", kafka->topics.tasks);
	(void)snprintf(result.field, sizeof(result.field), "%s", item->is_expired ? "ttl_ms" : "");
	fill_message(&result, item);
	r = result_encode(&result, out);
	result_clear(&result);
	return r;
}

/* Into the ledger, unless that is full. */
static bool enter(struct page *page, const struct reap_lease *lease, struct kafka_reply *reply)
{
	if (ledger_put(&page->ledger, lease->offset, LEDGER_ENTRY_ANNOUNCED) == 0 &&
	    ledger_encode(&page->ledger, page->metadata) == 0) {
		page->is_touched = true;
		return true;
	}
	ledger_remove(&page->ledger, lease->offset);
	(void)snprintf(reply->error, sizeof(reply->error),
		       "the ledger of partition %d is full: workers must take its records first; are any running?",
		       page->partition);
	return false;
}

/* Not over for a reason of its own. Its state says nothing: who takes an orphan to tell it makes it an ended one first. */
static bool is_worth_waiting(const struct kafka_process *kafka, const struct kafka_item *item)
{
	return !item->is_expired && item->lease.attempt < kafka->settings->max_attempts;
}

/* An orphan is lost when nobody is there to take it, not when those who are there have a long queue. */
static int spare_wanted(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
			struct err *err)
{
	bool has_orphans = false, has_workers = false;
	int r;

	for (uint32_t i = 0; i < request->n; i++)
		has_orphans |= reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD &&
			       is_worth_waiting(kafka, &request->items[i]);
	if (!has_orphans)
		return 0;
	r = positions_has_members(kafka->workers, KAFKA_TIMEOUT_MS, &has_workers, err);
	for (uint32_t i = 0; i < request->n && r == 0 && has_workers; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD && is_worth_waiting(kafka, &request->items[i]))
			reply->verdicts[i] = KAFKA_VERDICT_HAS_WORKERS;
	return r;
}

/* Into the ledger goes what is in none, and what no worker will come to. */
static int gather_announcements(struct kafka_process *kafka, const struct kafka_request *request, struct pages *pages,
				struct kafka_reply *reply, struct blocking_batch *batch, struct err *err)
{
	int r;

	(void)batch;
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD &&
		    ledger_find(&pages_find(pages, lease->partition)->ledger, lease->offset) == LEDGER_ENTRY_TOLD)
			reply->verdicts[i] = KAFKA_VERDICT_TOLD;
	}
	r = spare_wanted(kafka, request, reply, err);
	for (uint32_t i = 0; i < request->n && r == 0; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD &&
		    !enter(pages_find(pages, request->items[i].lease.partition), &request->items[i].lease, reply))
			reply->verdicts[i] = KAFKA_VERDICT_FAILED;
	return r;
}

static void withdraw(struct page *page, int64_t offset)
{
	if (ledger_find(&page->ledger, offset) != LEDGER_ENTRY_ANNOUNCED)
		return;
	ledger_remove(&page->ledger, offset);
	page->is_touched = true;
}

static int gather_result(struct kafka_process *kafka, const struct kafka_item *item, struct page *page, struct blocking_batch *batch,
			 struct err *err)
{
	struct buf result = { 0 };

	if (encode_result(kafka, item, &result) < 0) {
		buf_free(&result);
		return err_set(err, ERR_HOST, ENOMEM, "a result for %s", item->lease.id);
	}
	(void)ledger_put(&page->ledger, item->lease.offset, LEDGER_ENTRY_TOLD); /* it is there */
	page->is_touched = true;
	blocking_batch_add(batch, kafka->topics.results, item->lease.id, &result);
	return 0;
}

/* The batch: a result per record that is announced and not withdrawn. */
static int gather_results(struct kafka_process *kafka, const struct kafka_request *request, struct pages *pages,
			  struct kafka_reply *reply, struct blocking_batch *batch, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < request->n && r == 0; i++) {
		const struct kafka_item *item = &request->items[i];
		struct page *page = pages_find(pages, item->lease.partition);
		enum ledger_entry entry;

		if (reply->verdicts[i] != KAFKA_VERDICT_NOT_TOLD)
			continue;
		entry = ledger_find(&page->ledger, item->lease.offset);
		if (entry == LEDGER_ENTRY_TOLD)
			reply->verdicts[i] = KAFKA_VERDICT_TOLD;
		else if (entry == LEDGER_ENTRY_NONE || item->is_withdrawn)
			reply->verdicts[i] = KAFKA_VERDICT_FAILED; /* the next batch announces it again */
		if (entry == LEDGER_ENTRY_ANNOUNCED && item->is_withdrawn)
			withdraw(page, item->lease.offset);
		else if (entry == LEDGER_ENTRY_ANNOUNCED)
			r = gather_result(kafka, item, page, batch, err);
	}
	return r;
}

static void gather_ledgers(const char *topic, struct pages *pages, struct blocking_batch *batch)
{
	for (size_t i = 0; i < pages->n; i++) {
		struct page *page = &pages->pages[i];
		const struct ledger *ledger = &page->ledger;

		if (!page->is_touched)
			continue;
		(void)ledger_encode(ledger, page->metadata); /* it fits: enter() saw to that */
		blocking_batch_commit(batch, topic, page->partition, ledger->n ? ledger->offsets[ledger->n - 1] + 1 : 0, page->metadata);
	}
}

static void mark_told(const struct kafka_request *request, struct kafka_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		if (reply->verdicts[i] != KAFKA_VERDICT_NOT_TOLD)
			continue;
		reply->verdicts[i] = KAFKA_VERDICT_TOLD;
		log_info("reaper.told", "id=%s outcome=%s partition=%d offset=%lld", request->items[i].lease.id,
			 request->items[i].is_expired ? "expired" : "lost", request->items[i].lease.partition,
			 (long long)request->items[i].lease.offset);
	}
}

/* One chunk of partitions from `first` on: what workers marked done and what is only announced leaves the ledgers, and what stays
 * is committed again, because a group without members is forgotten by Kafka after offsets.retention.minutes. */
static int tidy_some(struct kafka_process *kafka, int32_t first, uint32_t n, struct err *err)
{
	cleanup_(blocking_batch_clear) struct blocking_batch batch = { 0 };
	cleanup_(pages_free) struct pages pages = { 0 };
	static struct kafka_request request;
	int r;

	request.n = n;
	for (uint32_t i = 0; i < n; i++)
		request.items[i].lease.partition = first + (int32_t)i;
	r = read_workers(kafka, &request, &pages, err);
	if (r == 0)
		r = read_ledger(kafka, &pages, err);
	for (size_t i = 0; i < pages.n && r == 0; i++) {
		size_t n_withdrawn = ledger_withdraw(&pages.pages[i].ledger);

		pages.pages[i].is_touched |= n_withdrawn || pages.pages[i].ledger.n;
	}
	if (r < 0)
		return r;
	gather_ledgers(kafka->topics.tasks, &pages, &batch);
	return batch.n_offsets ? blocking_publisher_publish(kafka->publisher, &batch, err) : 0;
}

static int tidy_all(struct kafka_process *kafka, struct err *err)
{
	int32_t n = 0;
	int r = positions_count(kafka->workers, kafka->topics.tasks, KAFKA_TIMEOUT_MS, &n, err);

	for (int32_t first = 0; first < n && r == 0; first += REAP_BATCH_MAX)
		r = tidy_some(kafka, first, n - first < REAP_BATCH_MAX ? (uint32_t)(n - first) : REAP_BATCH_MAX, err);
	return r;
}

static void close_publisher(struct kafka_process *kafka)
{
	blocking_publisher_free(kafka->publisher);
	kafka->publisher = NULL;
}

/* From here on a change of the ledgers by another reaper fences us; what others announced is of those that we have fenced. */
static int open_publisher(struct kafka_process *kafka, struct err *err)
{
	const struct blocking_publisher_config config = { .brokers = kafka->settings->fleet.brokers,
					      .group = kafka->ledger_group,
					      .timeout_ms = KAFKA_TIMEOUT_MS };
	int r;

	if (kafka->publisher)
		return 0;
	r = blocking_publisher_new(&config, &kafka->publisher, err);
	return r < 0 ? r : tidy_all(kafka, err);
}

/* Is anything in any ledger? */
static bool has_entries(struct kafka_process *kafka, int *ret_r, struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	bool has = false;
	int32_t n = 0;

	*ret_r = positions ? positions_count(kafka->workers, kafka->topics.tasks, KAFKA_TIMEOUT_MS, &n, err)
			   : err_set(err, ERR_HOST, ENOMEM, "read the ledgers");
	for (int32_t first = 0; first < n && *ret_r == 0 && !has; first += REAP_BATCH_MAX) {
		size_t some = n - first < REAP_BATCH_MAX ? (size_t)(n - first) : REAP_BATCH_MAX;

		for (size_t i = 0; i < some; i++)
			positions[i].partition = first + (int32_t)i;
		*ret_r = positions_read(kafka->ledger, kafka->topics.tasks, positions, some, KAFKA_TIMEOUT_MS, err);
		for (size_t i = 0; i < some && *ret_r == 0; i++)
			has = has || strlen(positions[i].metadata) > strlen(LEDGER_EMPTY);
	}
	return has;
}

typedef int (*gather_fn)(struct kafka_process *kafka, const struct kafka_request *request, struct pages *pages,
			 struct kafka_reply *reply, struct blocking_batch *batch, struct err *err);

/* 0, or -EAGAIN: nothing was committed, start over; the ledger may have changed under us. */
static int commit_once(struct kafka_process *kafka, const struct kafka_request *request, gather_fn gather,
		       struct kafka_reply *reply, struct err *err)
{
	cleanup_(blocking_batch_clear) struct blocking_batch batch = { 0 };
	cleanup_(pages_free) struct pages pages = { 0 };
	int r = open_publisher(kafka, err);

	if (r == 0)
		r = read_workers(kafka, request, &pages, err);
	if (r < 0)
		return r;
	judge(kafka, request, &pages, reply);
	r = read_ledger(kafka, &pages, err);
	if (r == 0)
		r = gather(kafka, request, &pages, reply, &batch, err);
	if (r < 0)
		return r;
	gather_ledgers(kafka->topics.tasks, &pages, &batch);
	return batch.n_offsets ? blocking_publisher_publish(kafka->publisher, &batch, err) : 0;
}

static int commit(struct kafka_process *kafka, const struct kafka_request *request, gather_fn gather, struct kafka_reply *reply,
		  struct err *err)
{
	int r = -EAGAIN;

	for (int try = 0; try < TELL_TRIES && r == -EAGAIN; try++) {
		r = commit_once(kafka, request, gather, reply, err);
		if (r < 0) /* whatever state the producer is in, a new one is in a known one */
			close_publisher(kafka);
	}
	return r;
}

static int tell(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		struct err *err)
{
	int r = commit(kafka, request, gather_results, reply, err);

	if (r == 0)
		mark_told(request, reply);
	return r;
}

/* Opening a producer fences the other reapers' and is not done for nothing. */
static int tidy(struct kafka_process *kafka, struct err *err)
{
	int r = 0;

	if (!kafka->publisher && !has_entries(kafka, &r, err))
		return r;
	r = kafka->publisher ? tidy_all(kafka, err) : open_publisher(kafka, err);
	if (r < 0)
		close_publisher(kafka);
	return r;
}

static int answer(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		  struct err *err)
{
	if (clock_mono_ms() < kafka->away_until_mono_ms)
		return err_set(err, ERR_BUSY, EAGAIN, "Kafka did not answer a moment ago");
	switch ((enum kafka_op)request->op) {
	case KAFKA_OP_LOOKUP:
		return lookup(kafka, request, reply, err);
	case KAFKA_OP_FENCE:
		return fence(kafka, request, reply, err);
	case KAFKA_OP_ANNOUNCE:
		return commit(kafka, request, gather_announcements, reply, err);
	case KAFKA_OP_TELL:
		return tell(kafka, request, reply, err);
	case KAFKA_OP_TIDY:
		return tidy(kafka, err);
	case KAFKA_OP_COUNT:
		break;
	}
	return err_set(err, ERR_BUG, EINVAL, "request %u to the Kafka process", request->op);
}

static void serve(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply)
{
	struct err err = { 0 };
	uint64_t before_ms = clock_mono_ms();
	int r;

	*reply = (struct kafka_reply){ .magic = KAFKA_PROCESS_MAGIC, .op = request->op, .n = request->n };
	r = answer(kafka, request, reply, &err);
	if (r == 0)
		return;
	if (err.kind == ERR_BUSY && clock_mono_ms() - before_ms >= KAFKA_TIMEOUT_MS)
		kafka->away_until_mono_ms = clock_mono_ms() + AWAY_MS;
	memcpy(reply->error, err.msg, sizeof(reply->error));
	for (uint32_t i = 0; i < request->n; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD) /* what is told stays told */
			reply->verdicts[i] = KAFKA_VERDICT_FAILED;
}

static void kafka_process_close(struct kafka_process *kafka)
{
	blocking_publisher_free(kafka->publisher);
	positions_free(kafka->workers);
	positions_free(kafka->ledger);
}

static int kafka_process_open(struct kafka_process *kafka, struct err *err)
{
	int r;

	topics_name(kafka->settings->fleet.topic_prefix, &kafka->topics);
	(void)snprintf(kafka->ledger_group, sizeof(kafka->ledger_group), LEDGER_GROUP_FORMAT,
		       kafka->settings->fleet.group); /* fits */
	r = positions_new(kafka->settings->fleet.brokers, kafka->settings->fleet.group, &kafka->workers, err);
	return r < 0 ? r : positions_new(kafka->settings->fleet.brokers, kafka->ledger_group, &kafka->ledger, err);
}

/* The engine is our own code, or was taken over: a request that is not one ends the process. */
static bool is_request(const struct kafka_request *request, ssize_t len)
{
	if (len < (ssize_t)offsetof(struct kafka_request, items) || request->magic != KAFKA_PROCESS_MAGIC ||
	    request->op >= KAFKA_OP_COUNT || (request->n == 0) != (request->op == KAFKA_OP_TIDY) || request->n > REAP_BATCH_MAX ||
	    (size_t)len != kafka_request_len(request->n))
		return false;
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (!ident_is_id(lease->id, strnlen(lease->id, sizeof(lease->id))) || lease->partition < 0 ||
		    lease->offset < 0 || !memchr(lease->victim, '\0', sizeof(lease->victim)) ||
		    !memchr(lease->host, '\0', sizeof(lease->host)) ||
		    !memchr(lease->topic, '\0', sizeof(lease->topic)))
			return false;
	}
	return true;
}

int kafka_process_main(int fd, const struct reaper_settings *settings)
{
	cleanup_(kafka_process_close) struct kafka_process kafka = { .settings = settings };
	static struct kafka_request request;
	static struct kafka_reply reply;
	struct err err;
	ssize_t n;

	if (kafka_process_open(&kafka, &err) < 0) {
		log_error("kafka.start", "message=\"%s\"", err.msg);
		return 1;
	}
	while ((n = recv(fd, &request, sizeof(request), 0)) > 0) {
		if (!is_request(&request, n)) {
			log_error("kafka.request", "message=\"%zd bytes that are no request\"", n);
			return 1;
		}
		serve(&kafka, &request, &reply);
		if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
			return 1;
	}
	return 0;
}
