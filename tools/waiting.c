/* An open-addressing hash table that only grows; answered records stay, to recognise a second answer. */
#include "tools/waiting.h"

#include <stdbool.h>

#define SLOTS_FIRST    1024 /* a power of two */
#define PARTITIONS_MAX 1000 /* as worker.conf allows */

struct slot {
	int64_t offset;
	int32_t partition;
	bool is_used, is_started, is_answered;
};

struct waiting {
	struct slot *slots;
	size_t n_slots, n_used, n_left, n_started;
	int64_t highest[PARTITIONS_MAX];
};

int waiting_new(struct waiting **ret, struct err *err)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	if (waiting)
		waiting->slots = calloc(SLOTS_FIRST, sizeof(*waiting->slots));
	if (!waiting || !waiting->slots) {
		waiting_free(waiting);
		return err_set(err, ERR_HOST, ENOMEM, "a list of what is waited for");
	}
	waiting->n_slots = SLOTS_FIRST;
	for (size_t i = 0; i < PARTITIONS_MAX; i++)
		waiting->highest[i] = -1;
	*ret = waiting;
	return 0;
}

/* Where the record is, or the free slot where it belongs. */
static struct slot *find(struct slot *slots, size_t n_slots, int32_t partition, int64_t offset)
{
	uint64_t hash =
		((uint64_t)offset * 1000003 + (uint64_t)partition) * 0x9e3779b97f4a7c15ull; /* Fibonacci hashing */
	size_t i = (size_t)(hash >> 20) & (n_slots - 1);

	while (slots[i].is_used && (slots[i].offset != offset || slots[i].partition != partition))
		i = (i + 1) & (n_slots - 1);
	return &slots[i];
}

static int make_room(struct waiting *waiting, struct err *err)
{
	size_t n_slots = waiting->n_slots * 2;
	struct slot *slots;

	if (waiting->n_used * 2 < waiting->n_slots)
		return 0;
	slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return err_set(err, ERR_HOST, ENOMEM, "a list of %zu records to wait for", n_slots);
	for (size_t i = 0; i < waiting->n_slots; i++)
		if (waiting->slots[i].is_used)
			*find(slots, n_slots, waiting->slots[i].partition, waiting->slots[i].offset) =
				waiting->slots[i];
	free(waiting->slots);
	waiting->slots = slots;
	waiting->n_slots = n_slots;
	return 0;
}

int waiting_add(struct waiting *waiting, int32_t partition, int64_t offset, struct err *err)
{
	struct slot *slot;
	int r = make_room(waiting, err);

	if (r < 0)
		return r;
	if (partition < 0 || partition >= PARTITIONS_MAX)
		return err_set(err, ERR_HOST, 0, "partition %d is beyond the %d that are supported", partition,
			       PARTITIONS_MAX);
	slot = find(waiting->slots, waiting->n_slots, partition, offset);
	if (slot->is_used)
		return 0;
	*slot = (struct slot){ .offset = offset, .partition = partition, .is_used = true };
	waiting->n_used++;
	waiting->n_left++;
	if (offset > waiting->highest[partition])
		waiting->highest[partition] = offset;
	return 0;
}

void waiting_start(struct waiting *waiting, int32_t partition, int64_t offset)
{
	struct slot *slot = find(waiting->slots, waiting->n_slots, partition, offset);

	if (!slot->is_used || slot->is_answered || slot->is_started)
		return;
	slot->is_started = true;
	waiting->n_started++;
}

bool waiting_has(const struct waiting *waiting, int32_t partition, int64_t offset)
{
	return find(waiting->slots, waiting->n_slots, partition, offset)->is_used;
}

enum waiting_verdict waiting_answer(struct waiting *waiting, int32_t partition, int64_t offset)
{
	struct slot *slot = find(waiting->slots, waiting->n_slots, partition, offset);

	if (!slot->is_used)
		return WAITING_VERDICT_FOREIGN;
	if (slot->is_answered)
		return WAITING_VERDICT_AGAIN;
	slot->is_answered = true;
	waiting->n_left--;
	waiting->n_started -= slot->is_started;
	return WAITING_VERDICT_FIRST;
}

int64_t waiting_highest(const struct waiting *waiting, int32_t partition)
{
	return partition >= 0 && partition < PARTITIONS_MAX ? waiting->highest[partition] : -1;
}

size_t waiting_left(const struct waiting *waiting)
{
	return waiting->n_left;
}

size_t waiting_started(const struct waiting *waiting)
{
	return waiting->n_started;
}

void waiting_free(struct waiting *waiting)
{
	if (!waiting)
		return;
	free(waiting->slots);
	free(waiting);
}
