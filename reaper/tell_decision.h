/* May the result of a record be announced, and may it be told? Pure: it reads and changes the ledger's page in
 * memory.
 *
 *	the ledger says   announce                                        tell              withdraw
 *	nothing           entered; or left to the workers that are there  FAILED            FAILED
 *	announced         entered: it is                                  told              leaves the ledger, FAILED
 *	told              TOLD                                            TOLD              TOLD
 *
 * FAILED is safe: the record is looked at again by the next batch that has its lease. Only for records that the
 * workers have not marked done. */
#pragma once

#include "reaper/ledger_pages.h"

/* Would it be left to workers, if there are any? Not what is over for a reason of its own. Its state says nothing:
 * who takes an orphan to tell it makes it an ended one first. */
bool tell_decide_can_wait(const struct kafka_item *item, uint64_t max_attempts);

/* Does the ledger say so? */
bool tell_decide_is_told(const struct ledger_page *page, const struct kafka_item *item);

/* NOT_TOLD: it is in the ledger as announced. FAILED: the ledger is full. */
enum kafka_verdict tell_decide_announce(struct ledger_page *page, const struct kafka_item *item,
					bool is_left_to_workers);

/* NOT_TOLD: publish its result in the transaction that commits this page, where it is told already. */
enum kafka_verdict tell_decide_tell(struct ledger_page *page, const struct kafka_item *item);
