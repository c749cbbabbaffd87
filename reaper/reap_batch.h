/* A batch: what is done with up to REAP_BATCH_MAX leases, step by step, all of them together. A step has ended for all before the
 * next one begins; an item that has nothing to do in a step waits.
 *
 *	step      where     what                                                       why here
 *	take      Redis     now they are ours; their workers' renewals answer GONE     first: whoever takes part later sees whose they are
 *	erase     this host VM, key, files, in this order                              before telling: the result says what came of the key
 *	fence     Kafka     dead workers; was the result told?                         after take: a fenced worker must find its lease gone
 *	settle    Redis     told: lease deleted. Not told: orphan, or ended            after fence: only then is "not told" final
 *	announce  Kafka     enter into the ledger that a result is about to be told
 *	confirm   Redis     is it still ours to tell?                                  after announce: see below
 *	tell      Kafka     the results of what has ended; or withdraw the announcement
 *	lookup    Kafka     has a worker marked what was told earlier?
 *	close     Redis     told: kept, so that the record does not run again; marked: lease deleted
 *
 * Confirm comes after announce because a worker claims in Redis first and looks into the ledger then. So at least one of the two
 * sees the other, and a record is not both run and told.
 *
 * Who owns what. From take on a lease has our owner and a token of ours, for one lease's time. Within it no worker and no other reaper
 * acts on it. Later another reaper takes it with a higher token, and our settle, confirm and close find it gone: then we stop
 * (`reaper.overtaken`) and withdraw what we announced.
 *
 * A reaper may die between and within any two steps. It leaves:
 *	after take      a lease in state reaping, ended or told whose owner never comes back: the next reaper takes it when it has run
 *	                out, and begins from take. Erasing and fencing again do no harm
 *	after announce  an announcement: the producer of the next reaper withdraws it (reaper/kafka_process.h)
 *	after tell      a lease that says ended of a record that is told: the next reaper is answered TOLD by announce, and closes it
 *
 * What must not happen: erasing what a worker holds (only with the lease's token, or when Redis says that nobody holds it); telling
 * without a lease of ours (confirm); telling twice (the ledger).
 *
 * An item of which Redis or Kafka did not answer is left as it is. What could not be erased is found again, without a lease, by
 * sweeping the host (reaper/host_sweep.h). */
#pragma once

#include "base/err.h"
#include "base/own.h"
#include "reaper/reap_batch_config.h"

struct reap_batch;

int reap_batch_new(const struct reap_batch_config *config, struct reap_batch **ret, struct err *err);

/* Leases of a scan at `now_ms`. */
void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms);

/* Workspaces found on this host; their ids are borrowed until on_done. */
void reap_batch_leftovers(struct reap_batch *batch, const struct reap_find *finds, size_t n, uint64_t now_ms);

void reap_batch_free(struct reap_batch *batch);

DEFINE_FREEP(struct reap_batch, reap_batch_free)
