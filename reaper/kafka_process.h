/* The reaper's process that speaks to Kafka, whose calls block. It answers whether a record's result was told, fences dead
 * workers, and tells the results of records that nobody may run any more, each exactly once.
 *
 * Who owns what. All reapers of a fleet share one transactional id and one ledger (wire/ledger.h), which is committed in the same
 * transaction as the results that it speaks of. The ledger belongs to whoever started a producer under that id last:
 *
 *	no producer --(start one: this fences every other reaper's; then read the ledger, withdraw announcements)--> producer
 *	producer    --(announce, tell, tidy: one transaction each, built on the ledger as just read)--> producer
 *	producer    --(a transaction fails, for whatever reason)--> no producer, and the request is tried again
 *
 * So a transaction commits only if the ledger it was built on is still the last one. An announcement stands as long as the producer
 * that made it: whoever starts one withdraws all that it finds.
 *
 * What must not happen: to tell a result that was not announced by this producer, or to announce one whose record the ledger or
 * the workers' committed positions say is answered (reaper/tell_decision.h).
 *
 * A crash at any point leaves a transaction that Kafka aborts, or one that is whole; nothing here needs to be remembered. */
#pragma once

#include "reaper/settings.h"

/* Serves requests (reaper/kafka_request.h) from `fd` until it ends; answers the exit status. */
int kafka_process_main(int fd, const struct reaper_settings *settings);
