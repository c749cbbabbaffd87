/* A batch: what is done with up to REAP_BATCH_MAX leases, step by step, all of them together. A step has ended for
 * all before the next one begins; an item that has nothing to do in a step waits.
 *
 *	step      where      what
 *	take      Redis      now they are ours; their workers' renewals answer GONE
 *	erase     this host  VM, key, files, in this order
 *	fence     Kafka      dead workers; was the result told?
 *	settle    Redis      told: the lease is deleted. Not told: it becomes an orphan, or ended
 *	announce  Kafka      enter into the ledger that a result is about to be told
 *	confirm   Redis      is it still ours to tell?
 *	tell      Kafka      the results of what has ended; or withdraw the announcement
 *	lookup    Kafka      has a worker marked what was told earlier?
 *	close     Redis      told: the lease is kept, so that the record does not run again. Marked: it is deleted
 *
 * Why in this order:
 * - take first: from then on everybody sees whose the lease is.
 * - erase before tell: the result says whether the disk's key was seen destroyed.
 * - fence after take: a fenced worker that starts a new producer must find its lease gone.
 * - settle after fence: only then is "not told" final.
 * - confirm after announce: a worker claims in Redis first and looks into the ledger then. So at least one of the two
 *   sees the other, and no record is both run and told.
 *
 * Who owns what. From take on a lease has our owner and a token of ours, for one lease's time. Within it no worker
 * and no other reaper acts on it. Afterwards another reaper may take it, with a higher token; our settle, confirm
 * and close are answered 0 then, we leave it (`reaper.overtaken`) and withdraw what we announced.
 *
 * A reaper may die between and within any two steps. It leaves:
 * - after take: a lease in state reaping, ended or told whose owner never comes back. The next reaper takes it when it
 *   has run out, and begins with take. Erasing and fencing again do no harm.
 * - after announce: an announcement. The producer of the next reaper withdraws it (reaper/kafka_process.h).
 * - after tell: a lease that says ended, of a record that is told. Announce answers TOLD to the next reaper, which
 *   closes it.
 *
 * A batch of leftovers, which a sweep of the host found, has no leases and only these steps:
 *
 *	find      Redis     does a worker or reaper hold a lease that names it, here? Then it is left alone
 *	erase     this host as above; without a lease, because nobody can ever make an object of that name again
 *	note      Redis     what came of the key, into the line that still names it
 *
 * What must not happen: to erase what a worker holds (only with the lease's token, or when reaper/leftovers.h says so),
 * to tell without a lease of ours (confirm), to tell twice (the ledger).
 *
 * An item of which Redis or Kafka did not answer is left as it is. What could not be erased is found again, without
 * a lease, by sweeping the host (reaper/host_sweep.h). */
#pragma once

#include "base/err.h"
#include "base/own.h"
#include "reaper/leftovers.h"
#include "reaper/reap_batch_config.h"

struct reap_batch;

int reap_batch_new(const struct reap_batch_config *config, struct reap_batch **ret, struct err *err);

/* Leases of a scan at `now_ms`. */
void reap_batch_leases(struct reap_batch *batch, const struct reap_lease *leases, size_t n, uint64_t now_ms);

/* Workspaces found on this host; their ids are borrowed until on_done. */
void reap_batch_leftovers(struct reap_batch *batch, const struct leftover_find *finds, size_t n);

void reap_batch_free(struct reap_batch *batch);

DEFINE_FREEP(struct reap_batch, reap_batch_free)
