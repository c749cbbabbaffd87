/* Announcing and telling: one transaction each, of results and of the ledgers that say so. */
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "reaper/kafka_process_parts.h"
#include "reaper/ledger_pages.h"
#include "reaper/lost_result.h"
#include "reaper/tell_decision.h"

#define TELL_TRIES 3 /* of a transaction that was aborted or fenced by another reaper */

/* Fills the batch's messages and the pages' ledgers, for what is NOT_TOLD. */
typedef int (*gather_fn)(struct kafka_process *kafka, const struct kafka_request *request, struct ledger_pages *pages,
			 struct kafka_reply *reply, struct blocking_batch *batch, struct err *err);

static bool can_wait(const struct kafka_process *kafka, const struct kafka_item *item)
{
	return tell_decide_can_wait(item, kafka->settings->max_attempts);
}

/* Only then is Kafka asked for workers. */
static bool can_any_wait(const struct kafka_process *kafka, const struct kafka_request *request,
			 const struct ledger_pages *pages, const struct kafka_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		const struct kafka_item *item = &request->items[i];

		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD && can_wait(kafka, item) &&
		    !tell_decide_is_told(ledger_pages_find(pages, &item->lease), item))
			return true;
	}
	return false;
}

static void say_full(struct kafka_reply *reply, const struct reap_lease *lease)
{
	(void)snprintf(
		reply->error, sizeof(reply->error),
		"the ledger of partition %d of '%.80s' is full: workers must take its records first; are any running?",
		lease->partition, lease->topic);
}

/* An orphan is lost when nobody is there to take it, not when those who are there have a long queue. */
static int gather_announcements(struct kafka_process *kafka, const struct kafka_request *request,
				struct ledger_pages *pages, struct kafka_reply *reply, struct blocking_batch *batch,
				struct err *err)
{
	bool has_workers = false;
	int r = 0;

	(void)batch; /* only the ledgers change */
	if (can_any_wait(kafka, request, pages, reply))
		r = positions_has_members(kafka->workers, KAFKA_TIMEOUT_MS, &has_workers, err);
	for (uint32_t i = 0; i < request->n && r == 0; i++) {
		const struct kafka_item *item = &request->items[i];
		bool is_left = has_workers && can_wait(kafka, item);

		if (reply->verdicts[i] != KAFKA_VERDICT_NOT_TOLD)
			continue;
		reply->verdicts[i] =
			(uint8_t)tell_decide_announce(ledger_pages_find(pages, &item->lease), item, is_left);
		if (reply->verdicts[i] == KAFKA_VERDICT_FAILED)
			say_full(reply, &item->lease);
	}
	return r;
}

static int add_result(const struct kafka_process *kafka, const struct kafka_item *item, struct blocking_batch *batch,
		      struct err *err)
{
	struct buf result = { 0 };

	if (lost_result_encode(item, clock_wall_ms(), &result) < 0) {
		buf_free(&result);
		return err_set(err, ERR_HOST, ENOMEM, "a result for %s", item->lease.id);
	}
	blocking_batch_add(batch, kafka->topics.results, item->lease.id, &result);
	return 0;
}

static int gather_results(struct kafka_process *kafka, const struct kafka_request *request, struct ledger_pages *pages,
			  struct kafka_reply *reply, struct blocking_batch *batch, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < request->n && r == 0; i++) {
		const struct kafka_item *item = &request->items[i];

		if (reply->verdicts[i] != KAFKA_VERDICT_NOT_TOLD)
			continue;
		reply->verdicts[i] = (uint8_t)tell_decide_tell(ledger_pages_find(pages, &item->lease), item);
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD)
			r = add_result(kafka, item, batch, err);
	}
	return r;
}

/* 0, or -EAGAIN: nothing was committed, start over; the ledger may have changed under us. */
static int commit_once(struct kafka_process *kafka, const struct kafka_request *request, gather_fn gather,
		       struct kafka_reply *reply, struct err *err)
{
	cleanup_(blocking_batch_clear) struct blocking_batch batch = { 0 };
	cleanup_(ledger_pages_clear) struct ledger_pages pages = { 0 };
	int r = kafka_open_publisher(kafka, err);

	if (r == 0)
		r = ledger_pages_of_request(kafka, request, &pages, err);
	if (r < 0)
		return r;
	ledger_pages_judge(&pages, request, reply);
	r = ledger_pages_read_ledger(kafka, &pages, err);
	if (r == 0)
		r = gather(kafka, request, &pages, reply, &batch, err);
	if (r < 0)
		return r;
	ledger_pages_commit(&pages, &batch);
	return batch.n_offsets ? blocking_publisher_publish(kafka->publisher, &batch, err) : 0;
}

static int commit(struct kafka_process *kafka, const struct kafka_request *request, gather_fn gather,
		  struct kafka_reply *reply, struct err *err)
{
	int r = -EAGAIN;

	for (int try = 0; try < TELL_TRIES && r == -EAGAIN; try++) {
		r = commit_once(kafka, request, gather, reply, err);
		if (r < 0) /* whatever state the producer is in, a new one is in a known one */
			kafka_close_publisher(kafka);
	}
	return r;
}

int kafka_announce(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		   struct err *err)
{
	return commit(kafka, request, gather_announcements, reply, err);
}

static void mark_told(const struct kafka_request *request, struct kafka_reply *reply)
{
	for (uint32_t i = 0; i < request->n; i++) {
		if (reply->verdicts[i] != KAFKA_VERDICT_NOT_TOLD)
			continue;
		reply->verdicts[i] = KAFKA_VERDICT_TOLD;
		log_info("reaper.told", "id=%s outcome=%s topic=%s partition=%d offset=%lld",
			 request->items[i].lease.id, request->items[i].is_expired ? "expired" : "lost",
			 request->items[i].lease.topic, request->items[i].lease.partition,
			 (long long)request->items[i].lease.offset);
	}
}

int kafka_tell(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
	       struct err *err)
{
	int r = commit(kafka, request, gather_results, reply, err);

	if (r == 0)
		mark_told(request, reply);
	return r;
}
