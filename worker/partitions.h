/* The partitions that this worker owns, each with what is done of it.
 *
 * An epoch names one uninterrupted ownership: it changes when a partition comes back after somebody else may have
 * worked on it. Whatever carries an old epoch (a job, a result not yet told) speaks of records that will be delivered
 * again, and is dropped. Pure data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/offsets.h"
#include "wire/record_place.h"

#define PARTITIONS_NO_MEMORY (-100) /* below librdkafka's logical offsets in use here */
#define PARTITIONS_MAX 1000 /* of all topics together */

struct partition_position {
	int64_t committed;
	char metadata[OFFSETS_METADATA_MAX + 1];
};

struct partition {
	const char *topic; /* borrowed, as in wire/record_place.h */
	int32_t id; /* its number in the topic */
	bool is_owned;
	uint64_t epoch;
	struct offsets *offsets;
	int64_t start;	       /* the first that was asked for when it was assigned */
	int64_t next_received; /* one beyond the last record delivered */
	struct partition_position position; /* as last seen or made: it tells whether somebody else was here */
	bool has_plan;                      /* a commit is being made; how it ends is not known yet: */
	struct partition_position planned; /* valid with has_plan, after partition_planned() */
	struct offsets *plan; /* valid with has_plan: what will be done then */
	bool is_paused; /* its window is nearly full */
	/* Records below it were sent before we had the partition: others may have had them. -1: not known yet. */
	int64_t doubt_end;
	/* The log's end, as known before the last commit was made: what is below was sent before its results. */
	int64_t end_at_plan;
	int64_t unreadable; /* -1, or: from here on Kafka has no records, up to the one that comes next */
	int64_t was_unreadable; /* the same in the assignment before, or -1: the log's start may move again meanwhile */
	bool is_losing;     /* such a range is being told; it is paused until then */
	int64_t log_end;    /* where it ends, behind the last record that was received; 0: not known */
};

struct partitions;

struct partitions *partitions_new(void);
void partitions_free(struct partitions *partitions);

/* NULL when it is not owned. */
struct partition *partitions_find(struct partitions *partitions, const char *topic, int32_t id);

/* Also requires the epoch. */
struct partition *partitions_find_epoch(struct partitions *partitions, const char *topic, int32_t id, uint64_t epoch);

/* Everything is revoked until partitions_assign() says otherwise; epochs stay for those that come back unchanged. */
void partitions_suspend(struct partitions *partitions);
bool partitions_are_suspended(const struct partitions *partitions);

/* A new assignment begins; then one partitions_assign() for each; then partitions_end_assignment(), after which
 * those that were not named are not owned any more. `assign` answers the offset to start at, or
 * PARTITIONS_NO_MEMORY. */
void partitions_begin(struct partitions *partitions);
int64_t partitions_assign(struct partitions *partitions, const char *topic, int32_t id, int64_t committed,
			  const char *metadata, int64_t start);
void partitions_end_assignment(struct partitions *partitions);

/* After partitions_assign(): it could not be read at `offset`. false: that is old news, it is to start where that
 * said. */
bool partition_is_unreadable(struct partition *partition, int64_t offset);

/* A range of records that were deleted before they were done; not each offset in it needs to have been a record. */
struct partition_loss {
	int64_t from, to;    /* nothing in [from, to) will come: it is done when this is told */
	int64_t first, last; /* of those that were not done */
	uint64_t records;    /* not done, at most so many */
};

enum partition_place {
	PARTITION_PLACE_FOUND, /* it goes on as ever */
	PARTITION_PLACE_LOSS,  /* records are gone: to be told, and marked as done, before it goes on */
	PARTITION_PLACE_LATER, /* not now: rewind to `offset` and pause */
	PARTITION_PLACE_BELOW, /* Kafka has less than it had: it starts over */
	PARTITION_PLACE_COUNT
};

/* Before partition_receive(), or at the log's end: what is at `offset` is the first that can be read. */
enum partition_place partition_find_place(struct partition *partition, int64_t offset, struct partition_loss *ret);

/* At the end of the log, when nothing of it is open: offsets behind the last record that are none (transaction
 * markers). Marking them as done keeps them from being taken for lost records once they are deleted. */
bool partition_has_tail(const struct partition *partition, int64_t *ret_from, int64_t *ret_to);

enum partition_receipt {
	PARTITION_RECEIPT_NEW, /* to be worked on */
	PARTITION_RECEIPT_AGAIN, /* done, or in hand: librdkafka delivers records again after a pause, a resume or a seek */
	PARTITION_RECEIPT_NO_ROOM, /* beyond the window of open offsets: not received, to be delivered again */
	PARTITION_RECEIPT_BELOW, /* never asked for: Kafka no longer has what was, and starts over */
	PARTITION_RECEIPT_COUNT
};

/* A record of an owned partition was delivered. */
enum partition_receipt partition_receive(struct partition *partition, int64_t offset);

/* A commit in three steps, so that nothing counts as done whose commit did not happen: plan every offset of it, ask
 * for the position to commit, and say how it ended. */
void partition_plan(struct partition *partition, int64_t offset);
void partition_plan_range(struct partition *partition, int64_t from, int64_t to);
const struct partition_position *partition_planned(struct partition *partition);
void partition_end_plan(struct partition *partition, bool is_committed);

/* A range was told, and its commit happened. */
void partition_range_is_done(struct partition *partition, int64_t from, int64_t to);

/* Visit the owned ones. */
struct partition *partitions_next(struct partitions *partitions, size_t *cursor);
