#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/producer.h"
#include "reaper/kafka_process_parts.h"
#include "reaper/ledger_pages.h"

int kafka_lookup(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		 struct err *err)
{
	cleanup_(ledger_pages_clear) struct ledger_pages pages = { 0 };
	int r = ledger_pages_of_request(kafka, request, &pages, err);

	if (r == 0)
		ledger_pages_judge(&pages, request, reply);
	return r;
}

/* Once for all of a victim's records in this request. Not remembered beyond it: a victim that is alive after all and
 * lost its broker for a while starts its producer anew under the same id, and then is not fenced any more. */
static bool was_fenced(const struct kafka_request *request, uint32_t index, const struct kafka_reply *reply)
{
	const char *victim = request->items[index].lease.victim;

	for (uint32_t i = 0; i < index; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD && strcmp(request->items[i].lease.victim, victim) == 0)
			return true;
	return false;
}

static int fence_victim(const struct kafka_process *kafka, const char *victim, struct err *err)
{
	int r;

	if (strcmp(victim, "-") == 0)
		return 0;
	r = producer_fence(kafka->settings->fleet.brokers, victim, KAFKA_TIMEOUT_MS, err);
	if (r == 0)
		log_info("reaper.fenced", "owner=%s", victim);
	return r;
}

/* Look first: a worker whose finish got lost on the way to Redis has told its result and must not be fenced for it. */
int kafka_fence(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		struct err *err)
{
	int r = kafka_lookup(kafka, request, reply, err);

	for (uint32_t i = 0; i < request->n && r == 0; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD && !was_fenced(request, i, reply))
			r = fence_victim(kafka, request->items[i].lease.victim, err);
	return r == 0 ? kafka_lookup(kafka, request, reply, err) : r;
}
