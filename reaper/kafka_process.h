/* The reaper's process that speaks to Kafka, whose calls block. It answers whether a record's result was told,
 * fences dead workers, and tells the results of records that nobody may run any more, each exactly once.
 *
 * Who owns what. All reapers of a fleet share one transactional id and one ledger (wire/ledger.h), which is
 * committed in the same transaction as the results that it speaks of. The ledger belongs to whoever made a producer
 * of that id last:
 *
 *	no producer --(make one, which fences all others; withdraw all announcements)-->     producer
 *	producer    --(announce, tell or tidy: a transaction on the ledger as just read)-->  producer
 *	producer    --(a transaction fails, for whatever reason)-->                          no producer; try again
 *
 * So a transaction commits only if the ledger that it was built on is still the last one. An announcement stands as
 * long as the producer that made it: whoever makes one withdraws all that it finds.
 *
 * What must not happen: to tell a result that this producer did not announce, or to announce one whose record is
 * answered according to the ledger or the workers' committed positions (reaper/tell_decision.h).
 *
 * A crash at any point leaves a transaction that Kafka aborts, or one that is whole. Nothing needs to be remembered. */
#pragma once

#include "reaper/settings.h"

/* Serves requests (reaper/kafka_request.h) from `fd` until it ends; answers the exit status. */
int kafka_process_main(int fd, const struct reaper_settings *settings);
