#include "reaper/teller.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/positions.h"
#include "bus/topics.h"
#include "reaper/herald.h"
#include "wire/ledger.h"
#include "wire/result.h"
#include "wire/offsets.h"

#define KAFKA_TIMEOUT_MS 10000
/* After Kafka did not answer, every request fails at once for so long: erasing must not wait for it. */
#define AWAY_MS	   5000
#define TELL_TRIES 3 /* of a transaction that was aborted or fenced by another reaper */

struct teller {
	const struct reaper_settings *settings;
	struct topics topics;
	char ledger_group[CONF_TEXT_MAX + 16];
	struct positions *workers; /* what workers committed */
	struct positions *ledger;  /* what reapers committed */
	struct herald *herald;	   /* NULL: no producer now */
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
static int read_workers(struct teller *teller, const struct teller_request *request, struct pages *ret, struct err *err)
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
	r = positions_read(teller->workers, teller->topics.tasks, positions, n, KAFKA_TIMEOUT_MS, err);
	for (size_t i = 0; i < n && r == 0; i++, pages.n++)
		r = page_fill(&pages.pages[i], &positions[i], err);
	if (r < 0)
		return r;
	*ret = pages;
	pages = (struct pages){ 0 };
	return 0;
}

/* Fill what is known; an item of a topic that is not ours keeps FAILED. */
static void judge(const struct teller *teller, const struct teller_request *request, const struct pages *pages,
		  struct teller_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (strcmp(lease->topic, teller->topics.tasks) != 0) {
			reply->verdicts[i] = TELLER_VERDICT_FAILED;
			(void)snprintf(reply->error, sizeof(reply->error),
				       "lease %s is for topic %.48s, not %.48s: do two fleets share a Redis prefix?",
				       lease->id, lease->topic, teller->topics.tasks);
			continue;
		}
		reply->verdicts[i] = is_done(pages_find(pages, lease->partition), lease->offset)
					     ? TELLER_VERDICT_TOLD
					     : TELLER_VERDICT_NOT_TOLD;
	}
}

static int lookup(struct teller *teller, const struct teller_request *request, struct teller_reply *reply,
		  struct err *err)
{
	cleanup_(pages_free) struct pages pages = { 0 };
	int r = read_workers(teller, request, &pages, err);

	if (r == 0)
		judge(teller, request, &pages, reply);
	return r;
}

/* Once for all of a victim's records in this request. Not remembered beyond it: a victim that is alive after all and
 * lost its broker for a while starts its producer anew under the same id, and then is not fenced any more. */
static int fence_victim(struct teller *teller, const struct teller_request *request, uint32_t index,
			const struct teller_reply *reply, struct err *err)
{
	const char *victim = request->items[index].lease.victim;
	int r;

	if (strcmp(victim, "-") == 0)
		return 0;
	for (uint32_t i = 0; i < index; i++)
		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD &&
		    strcmp(request->items[i].lease.victim, victim) == 0)
			return 0;
	r = publisher_fence(teller->settings->brokers, victim, KAFKA_TIMEOUT_MS, err);
	if (r == 0)
		log_info("reaper.fenced", "owner=%s", victim);
	return r;
}

/* Look first: a worker whose finish got lost on the way to Redis has told its result and must not be fenced for it. */
static int fence(struct teller *teller, const struct teller_request *request, struct teller_reply *reply,
		 struct err *err)
{
	int r = lookup(teller, request, reply, err);

	for (uint32_t i = 0; i < request->n && r == 0; i++)
		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD)
			r = fence_victim(teller, request, i, reply, err);
	return r == 0 ? lookup(teller, request, reply, err) : r;
}

static int read_ledger(struct teller *teller, struct pages *pages, struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	int r;

	if (!positions)
		return err_set(err, ERR_HOST, ENOMEM, "read the ledger");
	for (size_t i = 0; i < pages->n; i++)
		positions[i].partition = pages->pages[i].partition;
	r = positions_read(teller->ledger, teller->topics.tasks, positions, pages->n, KAFKA_TIMEOUT_MS, err);
	for (size_t i = 0; i < pages->n && r == 0; i++) {
		size_t n_before;

		if (ledger_decode(positions[i].metadata, &pages->pages[i].ledger) < 0)
			return err_set(
				err, ERR_HOST, EBADMSG,
				"group %s holds something that is no ledger in partition %d: another client uses this "
				"group; give the fleet another one",
				teller->ledger_group, positions[i].partition);
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

static void fill_message(struct result *result, const struct teller_item *item)
{
	(void)snprintf(result->message, sizeof(result->message),
		       item->is_expired ? "ttl_ms: its workspace's life ended in attempt %u, and its worker did not tell the result%s"
					: "its worker died, in attempt %u, and no other took it in time%s",
		       item->lease.attempt,
		       item->lease.is_key_destroyed ? "" : "; nobody saw whether the key of its disk is destroyed"); /* it fits */
}

static int encode_result(const struct teller *teller, const struct teller_item *item, struct buf *out)
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
	(void)snprintf(result.topic, sizeof(result.topic), "%.127s", teller->topics.tasks);
	(void)snprintf(result.field, sizeof(result.field), "%s", item->is_expired ? "ttl_ms" : "");
	fill_message(&result, item);
	r = result_encode(&result, out);
	result_clear(&result);
	return r;
}

/* Into the ledger, unless that is full. */
static bool enter(struct page *page, const struct reap_lease *lease, struct teller_reply *reply)
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
static bool is_worth_waiting(const struct teller *teller, const struct teller_item *item)
{
	return !item->is_expired && item->lease.attempt < teller->settings->max_attempts;
}

/* An orphan is lost when nobody is there to take it, not when those who are there have a long queue. */
static int spare_wanted(struct teller *teller, const struct teller_request *request, struct teller_reply *reply,
			struct err *err)
{
	bool has_orphans = false, has_workers = false;
	int r;

	for (uint32_t i = 0; i < request->n; i++)
		has_orphans |= reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD &&
			       is_worth_waiting(teller, &request->items[i]);
	if (!has_orphans)
		return 0;
	r = positions_has_members(teller->workers, KAFKA_TIMEOUT_MS, &has_workers, err);
	for (uint32_t i = 0; i < request->n && r == 0 && has_workers; i++)
		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD && is_worth_waiting(teller, &request->items[i]))
			reply->verdicts[i] = TELLER_VERDICT_WANTED;
	return r;
}

/* Into the ledger goes what is in none, and what no worker will come to. */
static int gather_announcements(struct teller *teller, const struct teller_request *request, struct pages *pages,
				struct teller_reply *reply, struct herald_batch *batch, struct err *err)
{
	int r;

	(void)batch;
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD &&
		    ledger_find(&pages_find(pages, lease->partition)->ledger, lease->offset) == LEDGER_ENTRY_TOLD)
			reply->verdicts[i] = TELLER_VERDICT_TOLD;
	}
	r = spare_wanted(teller, request, reply, err);
	for (uint32_t i = 0; i < request->n && r == 0; i++)
		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD &&
		    !enter(pages_find(pages, request->items[i].lease.partition), &request->items[i].lease, reply))
			reply->verdicts[i] = TELLER_VERDICT_FAILED;
	return r;
}

static void withdraw(struct page *page, int64_t offset)
{
	if (ledger_find(&page->ledger, offset) != LEDGER_ENTRY_ANNOUNCED)
		return;
	ledger_remove(&page->ledger, offset);
	page->is_touched = true;
}

static int gather_result(struct teller *teller, const struct teller_item *item, struct page *page, struct herald_batch *batch,
			 struct err *err)
{
	struct buf result = { 0 };

	if (encode_result(teller, item, &result) < 0) {
		buf_free(&result);
		return err_set(err, ERR_HOST, ENOMEM, "a result for %s", item->lease.id);
	}
	(void)ledger_put(&page->ledger, item->lease.offset, LEDGER_ENTRY_TOLD); /* it is there */
	page->is_touched = true;
	herald_batch_add(batch, teller->topics.results, item->lease.id, &result);
	return 0;
}

/* The batch: a result per record that is announced and not withdrawn. */
static int gather_results(struct teller *teller, const struct teller_request *request, struct pages *pages,
			  struct teller_reply *reply, struct herald_batch *batch, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < request->n && r == 0; i++) {
		const struct teller_item *item = &request->items[i];
		struct page *page = pages_find(pages, item->lease.partition);
		enum ledger_entry entry;

		if (reply->verdicts[i] != TELLER_VERDICT_NOT_TOLD)
			continue;
		entry = ledger_find(&page->ledger, item->lease.offset);
		if (entry == LEDGER_ENTRY_TOLD)
			reply->verdicts[i] = TELLER_VERDICT_TOLD;
		else if (entry == LEDGER_ENTRY_NONE || item->is_withdrawn)
			reply->verdicts[i] = TELLER_VERDICT_FAILED; /* the next round announces it again */
		if (entry == LEDGER_ENTRY_ANNOUNCED && item->is_withdrawn)
			withdraw(page, item->lease.offset);
		else if (entry == LEDGER_ENTRY_ANNOUNCED)
			r = gather_result(teller, item, page, batch, err);
	}
	return r;
}

static void gather_ledgers(struct pages *pages, struct herald_batch *batch)
{
	for (size_t i = 0; i < pages->n; i++) {
		struct page *page = &pages->pages[i];
		const struct ledger *ledger = &page->ledger;

		if (!page->is_touched)
			continue;
		(void)ledger_encode(ledger, page->metadata); /* it fits: enter() saw to that */
		herald_batch_commit(batch, page->partition, ledger->n ? ledger->offsets[ledger->n - 1] + 1 : 0, page->metadata);
	}
}

static void mark_told(const struct teller_request *request, struct teller_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		if (reply->verdicts[i] != TELLER_VERDICT_NOT_TOLD)
			continue;
		reply->verdicts[i] = TELLER_VERDICT_TOLD;
		log_info("reaper.told", "id=%s outcome=%s partition=%d offset=%lld", request->items[i].lease.id,
			 request->items[i].is_expired ? "expired" : "lost", request->items[i].lease.partition,
			 (long long)request->items[i].lease.offset);
	}
}

/* One chunk of partitions from `first` on: what workers marked done and what is only announced leaves the ledgers, and what stays
 * is committed again, because a group without members is forgotten by Kafka after offsets.retention.minutes. */
static int tidy_some(struct teller *teller, int32_t first, uint32_t n, struct err *err)
{
	cleanup_(herald_batch_clear) struct herald_batch batch = { 0 };
	cleanup_(pages_free) struct pages pages = { 0 };
	static struct teller_request request;
	int r;

	request.n = n;
	for (uint32_t i = 0; i < n; i++)
		request.items[i].lease.partition = first + (int32_t)i;
	r = read_workers(teller, &request, &pages, err);
	if (r == 0)
		r = read_ledger(teller, &pages, err);
	for (size_t i = 0; i < pages.n && r == 0; i++) {
		size_t n_withdrawn = ledger_withdraw(&pages.pages[i].ledger);

		pages.pages[i].is_touched |= n_withdrawn || pages.pages[i].ledger.n;
	}
	if (r < 0)
		return r;
	gather_ledgers(&pages, &batch);
	return batch.n_offsets ? herald_publish(teller->herald, &batch, err) : 0;
}

static int tidy_all(struct teller *teller, struct err *err)
{
	int32_t n = 0;
	int r = positions_count(teller->workers, teller->topics.tasks, KAFKA_TIMEOUT_MS, &n, err);

	for (int32_t first = 0; first < n && r == 0; first += REAP_BATCH_MAX)
		r = tidy_some(teller, first, n - first < REAP_BATCH_MAX ? (uint32_t)(n - first) : REAP_BATCH_MAX, err);
	return r;
}

static void close_herald(struct teller *teller)
{
	herald_free(teller->herald);
	teller->herald = NULL;
}

/* From here on a change of the ledgers by another reaper fences us; what others announced is of those that we have fenced. */
static int open_herald(struct teller *teller, struct err *err)
{
	const struct herald_config config = { .brokers = teller->settings->brokers,
					      .group = teller->ledger_group,
					      .source_topic = teller->topics.tasks,
					      .timeout_ms = KAFKA_TIMEOUT_MS };
	int r;

	if (teller->herald)
		return 0;
	r = herald_new(&config, &teller->herald, err);
	return r < 0 ? r : tidy_all(teller, err);
}

/* Is anything in any ledger? */
static bool has_entries(struct teller *teller, int *ret_r, struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	bool has = false;
	int32_t n = 0;

	*ret_r = positions ? positions_count(teller->workers, teller->topics.tasks, KAFKA_TIMEOUT_MS, &n, err)
			   : err_set(err, ERR_HOST, ENOMEM, "read the ledgers");
	for (int32_t first = 0; first < n && *ret_r == 0 && !has; first += REAP_BATCH_MAX) {
		size_t some = n - first < REAP_BATCH_MAX ? (size_t)(n - first) : REAP_BATCH_MAX;

		for (size_t i = 0; i < some; i++)
			positions[i].partition = first + (int32_t)i;
		*ret_r = positions_read(teller->ledger, teller->topics.tasks, positions, some, KAFKA_TIMEOUT_MS, err);
		for (size_t i = 0; i < some && *ret_r == 0; i++)
			has = has || strlen(positions[i].metadata) > strlen(LEDGER_EMPTY);
	}
	return has;
}

typedef int (*gather_fn)(struct teller *teller, const struct teller_request *request, struct pages *pages,
			 struct teller_reply *reply, struct herald_batch *batch, struct err *err);

/* 0, or -EAGAIN: nothing was committed, start over; the ledger may have changed under us. */
static int commit_once(struct teller *teller, const struct teller_request *request, gather_fn gather,
		       struct teller_reply *reply, struct err *err)
{
	cleanup_(herald_batch_clear) struct herald_batch batch = { 0 };
	cleanup_(pages_free) struct pages pages = { 0 };
	int r = open_herald(teller, err);

	if (r == 0)
		r = read_workers(teller, request, &pages, err);
	if (r < 0)
		return r;
	judge(teller, request, &pages, reply);
	r = read_ledger(teller, &pages, err);
	if (r == 0)
		r = gather(teller, request, &pages, reply, &batch, err);
	if (r < 0)
		return r;
	gather_ledgers(&pages, &batch);
	return batch.n_offsets ? herald_publish(teller->herald, &batch, err) : 0;
}

static int commit(struct teller *teller, const struct teller_request *request, gather_fn gather, struct teller_reply *reply,
		  struct err *err)
{
	int r = -EAGAIN;

	for (int try = 0; try < TELL_TRIES && r == -EAGAIN; try++) {
		r = commit_once(teller, request, gather, reply, err);
		if (r < 0) /* whatever state the producer is in, a new one is in a known one */
			close_herald(teller);
	}
	return r;
}

static int tell(struct teller *teller, const struct teller_request *request, struct teller_reply *reply,
		struct err *err)
{
	int r = commit(teller, request, gather_results, reply, err);

	if (r == 0)
		mark_told(request, reply);
	return r;
}

/* Opening a producer fences the other reapers' and is not done for nothing. */
static int tidy(struct teller *teller, struct err *err)
{
	int r = 0;

	if (!teller->herald && !has_entries(teller, &r, err))
		return r;
	r = teller->herald ? tidy_all(teller, err) : open_herald(teller, err);
	if (r < 0)
		close_herald(teller);
	return r;
}

static int answer(struct teller *teller, const struct teller_request *request, struct teller_reply *reply,
		  struct err *err)
{
	if (clock_mono_ms() < teller->away_until_mono_ms)
		return err_set(err, ERR_BUSY, EAGAIN, "Kafka did not answer a moment ago");
	switch ((enum teller_op)request->op) {
	case TELLER_OP_LOOKUP:
		return lookup(teller, request, reply, err);
	case TELLER_OP_FENCE:
		return fence(teller, request, reply, err);
	case TELLER_OP_ANNOUNCE:
		return commit(teller, request, gather_announcements, reply, err);
	case TELLER_OP_TELL:
		return tell(teller, request, reply, err);
	case TELLER_OP_TIDY:
		return tidy(teller, err);
	case TELLER_OP_COUNT:
		break;
	}
	return err_set(err, ERR_BUG, EINVAL, "request %u to the teller", request->op);
}

static void serve(struct teller *teller, const struct teller_request *request, struct teller_reply *reply)
{
	struct err err = { 0 };
	uint64_t before_ms = clock_mono_ms();
	int r;

	*reply = (struct teller_reply){ .magic = TELLER_MAGIC, .op = request->op, .n = request->n };
	r = answer(teller, request, reply, &err);
	if (r == 0)
		return;
	if (err.kind == ERR_BUSY && clock_mono_ms() - before_ms >= KAFKA_TIMEOUT_MS)
		teller->away_until_mono_ms = clock_mono_ms() + AWAY_MS;
	memcpy(reply->error, err.msg, sizeof(reply->error));
	for (uint32_t i = 0; i < request->n; i++)
		if (reply->verdicts[i] == TELLER_VERDICT_NOT_TOLD) /* what is told stays told */
			reply->verdicts[i] = TELLER_VERDICT_FAILED;
}

static void teller_close(struct teller *teller)
{
	herald_free(teller->herald);
	positions_free(teller->workers);
	positions_free(teller->ledger);
}

static int teller_open(struct teller *teller, struct err *err)
{
	int r;

	topics_name(teller->settings->topic_prefix, &teller->topics);
	(void)snprintf(teller->ledger_group, sizeof(teller->ledger_group), LEDGER_GROUP_FORMAT,
		       teller->settings->group); /* fits */
	r = positions_new(teller->settings->brokers, teller->settings->group, &teller->workers, err);
	return r < 0 ? r : positions_new(teller->settings->brokers, teller->ledger_group, &teller->ledger, err);
}

/* The engine is our own code, or was taken over: a request that is not one ends the process. */
static bool is_request(const struct teller_request *request, ssize_t len)
{
	if (len < (ssize_t)offsetof(struct teller_request, items) || request->magic != TELLER_MAGIC ||
	    request->op >= TELLER_OP_COUNT || (request->n == 0) != (request->op == TELLER_OP_TIDY) || request->n > REAP_BATCH_MAX ||
	    (size_t)len != teller_request_len(request->n))
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

int teller_main(int fd, const struct reaper_settings *settings)
{
	cleanup_(teller_close) struct teller teller = { .settings = settings };
	static struct teller_request request;
	static struct teller_reply reply;
	struct err err;
	ssize_t n;

	if (teller_open(&teller, &err) < 0) {
		log_error("teller.start", "message=\"%s\"", err.msg);
		return 1;
	}
	while ((n = recv(fd, &request, sizeof(request), 0)) > 0) {
		if (!is_request(&request, n)) {
			log_error("teller.request", "message=\"%zd bytes that are no request\"", n);
			return 1;
		}
		serve(&teller, &request, &reply);
		if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
			return 1;
	}
	return 0;
}
