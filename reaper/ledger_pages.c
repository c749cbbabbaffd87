#include "reaper/ledger_pages.h"

#include <string.h>

#include "base/own.h"
#include "wire/record_place.h"

void ledger_pages_clear(struct ledger_pages *pages)
{
	for (size_t i = 0; i < pages->n; i++)
		offsets_free(pages->list[i].done);
	free(pages->list);
	*pages = (struct ledger_pages){ 0 };
}

struct ledger_page *ledger_pages_find(const struct ledger_pages *pages, const struct reap_lease *lease)
{
	for (size_t i = 0; i < pages->n; i++)
		if (pages->list[i].partition == lease->partition && topic_is_same(pages->list[i].topic, lease->topic))
			return &pages->list[i];
	return NULL;
}

static int fill_page(struct ledger_page *page, const struct position *position, struct err *err)
{
	page->topic = position->topic;
	page->partition = position->partition;
	page->done = offsets_new(position->next < 0 ? 0 : position->next, position->metadata);
	return page->done ? 0
			  : err_set(err, ERR_HOST, ENOMEM, "offsets of partition %d of '%s'", position->partition,
				    position->topic);
}

static int read_done(struct kafka_process *kafka, struct position *positions, size_t n, struct ledger_pages *ret,
		     struct err *err)
{
	cleanup_(
		ledger_pages_clear) struct ledger_pages pages = { .list = calloc(REAP_BATCH_MAX, sizeof(*pages.list)) };
	int r;

	if (!pages.list)
		return err_set(err, ERR_HOST, ENOMEM, "look up committed offsets");
	r = n ? positions_read(kafka->workers, positions, n, KAFKA_TIMEOUT_MS, err) : 0;
	for (; r == 0 && pages.n < n; pages.n++)
		r = fill_page(&pages.list[pages.n], &positions[pages.n], err);
	if (r < 0)
		return r;
	*ret = pages;
	pages = (struct ledger_pages){ 0 };
	return 0;
}

static struct position *new_positions(struct err *err)
{
	struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));

	if (!positions)
		(void)err_set(err, ERR_HOST, ENOMEM, "look up committed offsets"); /* the caller answers it */
	return positions;
}

/* Each partition once. */
static size_t add_position(struct position *positions, size_t n, const char *topic, int32_t partition)
{
	for (size_t i = 0; i < n; i++)
		if (positions[i].partition == partition && positions[i].topic == topic)
			return n;
	positions[n] = (struct position){ .topic = topic, .partition = partition };
	return n + 1;
}

int ledger_pages_of_request(struct kafka_process *kafka, const struct kafka_request *request, struct ledger_pages *ret,
			    struct err *err)
{
	cleanup_free struct position *positions = new_positions(err);
	size_t n = 0;

	if (!positions)
		return -ENOMEM;
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;
		const char *topic = topics_find_source(&kafka->topics, lease->topic);

		if (topic)
			n = add_position(positions, n, topic, lease->partition);
	}
	return read_done(kafka, positions, n, ret, err);
}

int ledger_pages_of_range(struct kafka_process *kafka, const char *topic, int32_t first, size_t n,
			  struct ledger_pages *ret, struct err *err)
{
	cleanup_free struct position *positions = new_positions(err);

	if (!positions)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		positions[i] = (struct position){ .topic = topic, .partition = first + (int32_t)i };
	return read_done(kafka, positions, n, ret, err);
}

static bool is_done(void *ctx, int64_t offset)
{
	const struct ledger_page *page = ctx;

	return offsets_is_done(page->done, offset);
}

static int read_page(const struct kafka_process *kafka, struct ledger_page *page, const char *text, struct err *err)
{
	size_t n_before;

	if (ledger_decode(text, &page->ledger) < 0)
		return err_set(
			err, ERR_HOST, EBADMSG,
			"group %s holds something that is no ledger in partition %d of '%s': another client uses "
			"this group; give the fleet another one",
			kafka->ledger_group, page->partition, page->topic);
	n_before = page->ledger.n;
	ledger_prune(&page->ledger, is_done, page);
	page->is_touched = page->ledger.n != n_before;
	return 0;
}

int ledger_pages_read_ledger(struct kafka_process *kafka, struct ledger_pages *pages, struct err *err)
{
	cleanup_free struct position *positions = new_positions(err);
	int r;

	if (!positions)
		return -ENOMEM;
	for (size_t i = 0; i < pages->n; i++)
		positions[i] =
			(struct position){ .topic = pages->list[i].topic, .partition = pages->list[i].partition };
	r = pages->n ? positions_read(kafka->ledger, positions, pages->n, KAFKA_TIMEOUT_MS, err) : 0;
	for (size_t i = 0; i < pages->n && r == 0; i++)
		r = read_page(kafka, &pages->list[i], positions[i].metadata, err);
	return r;
}

void ledger_pages_judge(const struct ledger_pages *pages, const struct kafka_request *request,
			struct kafka_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;
		struct ledger_page *page = ledger_pages_find(pages, lease);

		if (page) {
			reply->verdicts[i] = is_done(page, lease->offset) ? KAFKA_VERDICT_TOLD : KAFKA_VERDICT_NOT_TOLD;
			continue;
		}
		reply->verdicts[i] = KAFKA_VERDICT_FAILED;
		(void)snprintf(
			reply->error, sizeof(reply->error),
			"lease %s is for topic %.48s, whose records are no tasks of this fleet: do two fleets share a "
			"Redis prefix?",
			lease->id, lease->topic);
	}
}

void ledger_pages_commit(struct ledger_pages *pages, struct blocking_batch *batch)
{
	for (size_t i = 0; i < pages->n; i++) {
		struct ledger_page *page = &pages->list[i];
		const struct ledger *ledger = &page->ledger;

		if (!page->is_touched)
			continue;
		(void)ledger_encode(ledger, page->metadata); /* it fits: tell_decide_announce() saw to that */
		blocking_batch_commit(batch, page->topic, page->partition,
				      ledger->n ? ledger->offsets[ledger->n - 1] + 1 : 0, page->metadata);
	}
}
