#include "reaper/tell_decision.h"

bool tell_decide_can_wait(const struct kafka_item *item, uint64_t max_attempts)
{
	return !item->is_expired && item->lease.attempt < max_attempts;
}

bool tell_decide_is_told(const struct ledger_page *page, const struct kafka_item *item)
{
	return ledger_find(&page->ledger, item->lease.offset) == LEDGER_ENTRY_TOLD;
}

static enum kafka_verdict enter(struct ledger_page *page, int64_t offset)
{
	if (ledger_put(&page->ledger, offset, LEDGER_ENTRY_ANNOUNCED) == 0 &&
	    ledger_encode(&page->ledger, page->metadata) == 0) {
		page->is_touched = true;
		return KAFKA_VERDICT_NOT_TOLD;
	}
	ledger_remove(&page->ledger, offset);
	return KAFKA_VERDICT_FAILED;
}

enum kafka_verdict tell_decide_announce(struct ledger_page *page, const struct kafka_item *item,
					bool is_left_to_workers)
{
	if (tell_decide_is_told(page, item))
		return KAFKA_VERDICT_TOLD;
	return is_left_to_workers ? KAFKA_VERDICT_HAS_WORKERS : enter(page, item->lease.offset);
}

static enum kafka_verdict tell_announced(struct ledger_page *page, const struct kafka_item *item)
{
	page->is_touched = true;
	if (item->is_withdrawn) {
		ledger_remove(&page->ledger, item->lease.offset);
		return KAFKA_VERDICT_FAILED;
	}
	(void)ledger_put(&page->ledger, item->lease.offset, LEDGER_ENTRY_TOLD); /* there is room: it is there */
	return KAFKA_VERDICT_NOT_TOLD;
}

enum kafka_verdict tell_decide_tell(struct ledger_page *page, const struct kafka_item *item)
{
	switch (ledger_find(&page->ledger, item->lease.offset)) {
	case LEDGER_ENTRY_TOLD:
		return KAFKA_VERDICT_TOLD;
	case LEDGER_ENTRY_ANNOUNCED:
		return tell_announced(page, item);
	case LEDGER_ENTRY_NONE:
		break;
	}
	return KAFKA_VERDICT_FAILED;
}
