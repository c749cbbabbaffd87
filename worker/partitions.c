/* Theory of operation
 *
 *	(not there) --> owned --> not owned --> owned again, in a new epoch
 *	                 |  ^
 *	                 |  `-- comes back as we left it: the same epoch
 *	                 v  |
 *	             suspended, all at once
 *
 * owned: its records are received, and commits are made for it. What is in hand names its epoch.
 *
 * suspended: Kafka has revoked everything, and the next assignment says what is ours. What is in hand goes on
 * meanwhile, but nothing may be committed: somebody else may have it. It comes back as we left it when the group's
 * commit is the one that we last saw or made, or the one that we are making and whose end is not known yet. Then
 * nobody was here in between, and it goes on behind the last record that was received. Else it starts at the commit,
 * in a new epoch.
 *
 * not owned: the assignment did not name it. Whatever comes back later is in a new epoch.
 *
 * A commit has three steps, so that nothing counts as done whose commit did not happen. While `has_plan`, `plan` is a
 * copy of `offsets` in which more is done, and `planned` the position that is being committed. Records may be
 * received and told lost meanwhile. When it is known to have happened, its maker marks in `offsets` what was in it;
 * when not, the plan is forgotten.
 *
 * A loss: `unreadable` says from where on Kafka has no records. The first record that can be read says how far
 * (partition_find_place()). What was not done in between is told by its owner: `is_losing`, and nothing is received.
 * partition_range_is_done() ends that.
 *
 * A few partitions, up to PARTITIONS_MAX: they are found by looking through them. */
#include "worker/partitions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct partitions {
	struct partition *all[PARTITIONS_MAX];
	size_t n;
	uint64_t last_epoch;
	bool is_suspended;
	bool is_named[PARTITIONS_MAX]; /* since partitions_begin() */
};

struct partitions *partitions_new(void)
{
	return calloc(1, sizeof(struct partitions));
}

void partitions_free(struct partitions *partitions)
{
	if (!partitions)
		return;
	for (size_t i = 0; i < partitions->n; i++) {
		offsets_free(partitions->all[i]->offsets);
		offsets_free(partitions->all[i]->plan);
		free(partitions->all[i]);
	}
	free(partitions);
}

static struct partition *find(const struct partitions *partitions, const char *topic, int32_t id, size_t *ret_index)
{
	for (size_t i = 0; i < partitions->n; i++) {
		if (partitions->all[i]->id != id || !topic_is_same(partitions->all[i]->topic, topic))
			continue;
		*ret_index = i;
		return partitions->all[i];
	}
	return NULL;
}

struct partition *partitions_find(struct partitions *partitions, const char *topic, int32_t id)
{
	size_t index;
	struct partition *partition = find(partitions, topic, id, &index);

	return partition && partition->is_owned ? partition : NULL;
}

struct partition *partitions_find_epoch(struct partitions *partitions, const char *topic, int32_t id, uint64_t epoch)
{
	struct partition *partition = partitions_find(partitions, topic, id);

	return partition && partition->epoch == epoch ? partition : NULL;
}

void partitions_suspend(struct partitions *partitions)
{
	partitions->is_suspended = true;
}

bool partitions_are_suspended(const struct partitions *partitions)
{
	return partitions->is_suspended;
}

void partitions_begin(struct partitions *partitions)
{
	memset(partitions->is_named, 0, sizeof(partitions->is_named));
}

static struct partition *add(struct partitions *partitions, const char *topic, int32_t id, size_t *ret_index)
{
	struct partition *partition;

	if (partitions->n == PARTITIONS_MAX)
		return NULL;
	partition = calloc(1, sizeof(*partition));
	if (!partition)
		return NULL;
	partition->plan = offsets_new(0, NULL);
	if (!partition->plan) {
		free(partition);
		return NULL;
	}
	partition->topic = topic;
	partition->id = id;
	partition->unreadable = -1;
	*ret_index = partitions->n;
	partitions->all[partitions->n++] = partition;
	return partition;
}

static bool is_position(const struct partition_position *position, int64_t committed, const char *metadata)
{
	return position->committed == committed && strcmp(position->metadata, metadata) == 0;
}

static bool is_as_we_left_it(const struct partition *partition, int64_t committed, const char *metadata)
{
	return partition->is_owned && (is_position(&partition->position, committed, metadata) ||
				       (partition->has_plan && is_position(&partition->planned, committed, metadata)));
}

int64_t partitions_assign(struct partitions *partitions, const char *topic, int32_t id, int64_t committed,
			  const char *metadata, int64_t start)
{
	size_t index;
	struct partition *partition = find(partitions, topic, id, &index);

	if (!partition)
		partition = add(partitions, topic, id, &index);
	if (!partition)
		return PARTITIONS_NO_MEMORY;
	partitions->is_named[index] = true;
	partition->doubt_end = -1; /* also of one that comes back: somebody may have had it meanwhile */
	partition->was_unreadable = partition->unreadable;
	partition->unreadable = -1;
	partition->log_end = 0;
	if (is_as_we_left_it(partition, committed, metadata))
		return partition->next_received > 0 ? partition->next_received : start;
	offsets_free(partition->offsets);
	partition->offsets = offsets_new(committed > 0 ? committed : 0, metadata);
	if (!partition->offsets)
		return PARTITIONS_NO_MEMORY;
	partition->is_owned = true;
	partition->is_paused = partition->is_losing = false;
	partition->was_unreadable = -1;
	partition->epoch = ++partitions->last_epoch;
	partition->start = committed > 0 ? committed : 0;
	partition->next_received = 0;
	partition->doubt_end = -1;
	partition->has_plan = false;
	partition->position.committed = committed;
	(void)snprintf(partition->position.metadata, sizeof(partition->position.metadata), "%s", metadata);
	return start;
}

void partitions_end_assignment(struct partitions *partitions)
{
	for (size_t i = 0; i < partitions->n; i++)
		if (!partitions->is_named[i])
			partitions->all[i]->is_owned = false;
	partitions->is_suspended = false;
}

static int64_t expected(const struct partition *partition)
{
	return partition->next_received > 0 ? partition->next_received : partition->start;
}

bool partition_is_unreadable(struct partition *partition, int64_t offset)
{
	if (offset < expected(partition))
		return false;
	partition->unreadable = offset;
	if (partition->was_unreadable >= expected(partition) && partition->was_unreadable < offset)
		partition->unreadable = partition->was_unreadable;
	return true;
}

enum partition_place partition_find_place(struct partition *partition, int64_t offset, struct partition_loss *ret)
{
	int64_t unreadable = partition->unreadable;

	if (unreadable < 0)
		return PARTITION_PLACE_FOUND;
	if (offset < unreadable)
		return PARTITION_PLACE_BELOW;
	if (partition->is_losing)
		return PARTITION_PLACE_LATER;
	*ret = (struct partition_loss){ .from = expected(partition), .to = offset };
	ret->records = offsets_open(partition->offsets, unreadable, offset, &ret->first, &ret->last);
	if (ret->records == 0) {
		partition->unreadable = -1;
		return PARTITION_PLACE_FOUND;
	}
	if (!offsets_has_room(partition->offsets, offset - 1))
		return PARTITION_PLACE_LATER;
	partition->is_losing = true;
	return PARTITION_PLACE_LOSS;
}

bool partition_has_tail(const struct partition *partition, int64_t *ret_from, int64_t *ret_to)
{
	if (partition->unreadable >= 0 || partition->is_losing || partition->has_plan || !offsets_is_idle(partition->offsets))
		return false;
	*ret_from = offsets_next(partition->offsets);
	*ret_to = partition->log_end;
	return *ret_from >= expected(partition) && *ret_to > *ret_from;
}

enum partition_receipt partition_receive(struct partition *partition, int64_t offset)
{
	partition->log_end = 0;
	if (offset < partition->start)
		return PARTITION_RECEIPT_BELOW;
	if (offset < partition->next_received)
		return PARTITION_RECEIPT_AGAIN;
	if (!offsets_has_room(partition->offsets, offset))
		return PARTITION_RECEIPT_NO_ROOM;
	partition->next_received = offset + 1;
	return offsets_receive(partition->offsets, offset) ? PARTITION_RECEIPT_NEW : PARTITION_RECEIPT_AGAIN;
}

static struct offsets *plan_of(struct partition *partition)
{
	if (!partition->has_plan)
		offsets_copy(partition->plan, partition->offsets);
	partition->has_plan = true;
	return partition->plan;
}

void partition_plan(struct partition *partition, int64_t offset)
{
	offsets_done(plan_of(partition), offset);
}

void partition_plan_range(struct partition *partition, int64_t from, int64_t to)
{
	offsets_skip(plan_of(partition), from, to);
}

const struct partition_position *partition_planned(struct partition *partition)
{
	partition->planned.committed = offsets_next(partition->plan);
	offsets_metadata(partition->plan, partition->planned.metadata);
	return &partition->planned;
}

void partition_end_plan(struct partition *partition, bool is_committed)
{
	partition->has_plan = false;
	if (is_committed)
		partition->position = partition->planned;
}

void partition_range_is_done(struct partition *partition, int64_t from, int64_t to)
{
	offsets_skip(partition->offsets, from, to);
	if (partition->next_received < to)
		partition->next_received = to;
	partition->is_losing = false;
	if (partition->unreadable >= 0 && partition->unreadable < to)
		partition->unreadable = to; /* what comes next says whether that is all */
}

struct partition *partitions_next(struct partitions *partitions, size_t *cursor)
{
	while (*cursor < partitions->n) {
		struct partition *partition = partitions->all[(*cursor)++];

		if (partition->is_owned)
			return partition;
	}
	return NULL;
}
