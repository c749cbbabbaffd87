/* The partitions that a request is about, a page each: what the workers have marked done there, and the reapers'
 * ledger of it. The same number in two topics is two partitions, with a page each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reaper/kafka_process_parts.h"
#include "wire/ledger.h"
#include "wire/offsets.h"

struct ledger_page {
	const char *topic; /* one of topics.sources */
	int32_t partition;
	struct offsets *done;		    /* by workers */
	struct ledger ledger;		    /* valid after ledger_pages_read_ledger() */
	char metadata[LEDGER_TEXT_MAX + 1]; /* the ledger's text, while it is published */
	bool is_touched;		    /* the ledger is not what was read: commit it */
};

struct ledger_pages {
	struct ledger_page *list;
	size_t n;
};

/* A page per partition that the request names, with what the workers have marked done. None for a topic that is not
 * the fleet's. */
int ledger_pages_of_request(struct kafka_process *kafka, const struct kafka_request *request, struct ledger_pages *ret,
			    struct err *err);

/* The same for the partitions of one topic from `first` on, at most REAP_BATCH_MAX. */
int ledger_pages_of_range(struct kafka_process *kafka, const char *topic, int32_t first, size_t n,
			  struct ledger_pages *ret, struct err *err);

/* Read the ledgers; what the workers marked done leaves them. */
int ledger_pages_read_ledger(struct kafka_process *kafka, struct ledger_pages *pages, struct err *err);

/* The page of the lease's record; NULL: there is none. */
struct ledger_page *ledger_pages_find(const struct ledger_pages *pages, const struct reap_lease *lease);

/* TOLD where a worker marked the record done, else NOT_TOLD. An item without a page is FAILED. */
void ledger_pages_judge(const struct ledger_pages *pages, const struct kafka_request *request,
			struct kafka_reply *reply);

/* The touched ledgers become the batch's offsets; their text is the pages'. */
void ledger_pages_commit(struct ledger_pages *pages, struct blocking_batch *batch);

void ledger_pages_clear(struct ledger_pages *pages);
