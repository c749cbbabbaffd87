#include "worker/cancelled.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	char id[IDENT_ID_MAX + 1];
	uint32_t next; /* an older one of the same bucket */
	uint64_t created_ms;
};

/* A ring, each entry of which is also in the list of its id's bucket. Places are counted from 1; 0 ends a list. */
struct cancelled {
	struct entry ring[CANCELLED_MAX];
	uint32_t buckets[CANCELLED_MAX];
	uint32_t at;   /* the last place that was filled */
	uint64_t seed; /* of the buckets: nobody chooses ids that share one */
};

/* Pages that were never used cost nothing. */
struct cancelled *cancelled_new(void)
{
	struct cancelled *cancelled = calloc(1, sizeof(*cancelled));

	if (cancelled)
		cancelled->seed = ident_hash_seed();
	return cancelled;
}

static struct entry *entry_at(struct cancelled *cancelled, uint32_t place)
{
	return &cancelled->ring[place - 1];
}

static uint32_t bucket_of(const struct cancelled *cancelled, const char *id)
{
	return (uint32_t)(ident_hash(id, cancelled->seed) % CANCELLED_MAX);
}

/* NULL: not remembered. */
static struct entry *find(struct cancelled *cancelled, const char *id)
{
	uint32_t place = cancelled->buckets[bucket_of(cancelled, id)];

	while (place && strcmp(cancelled->ring[place - 1].id, id) != 0)
		place = cancelled->ring[place - 1].next;
	return place ? &cancelled->ring[place - 1] : NULL;
}

/* The oldest of all is the last in its list. */
static void forget(struct cancelled *cancelled, uint32_t place)
{
	uint32_t *link = &cancelled->buckets[bucket_of(cancelled, entry_at(cancelled, place)->id)];

	while (*link && *link != place)
		link = &entry_at(cancelled, *link)->next;
	*link = 0;
}

static void add(struct cancelled *cancelled, const char *id, uint64_t created_ms)
{
	uint32_t place = cancelled->at = cancelled->at % CANCELLED_MAX + 1;
	struct entry *entry = entry_at(cancelled, place);
	uint32_t *bucket;

	if (entry->id[0])
		forget(cancelled, place);
	memset(entry, 0, sizeof(*entry));
	memcpy(entry->id, id, strnlen(id, IDENT_ID_MAX));
	entry->created_ms = created_ms;
	bucket = &cancelled->buckets[bucket_of(cancelled, entry->id)];
	entry->next = *bucket;
	*bucket = place;
}

/* The latest word about an id holds for all its tasks before it. */
void cancelled_add(struct cancelled *cancelled, const char *id, uint64_t created_ms)
{
	struct entry *entry = find(cancelled, id);

	if (!entry)
		add(cancelled, id, created_ms);
	else if (entry->created_ms < created_ms)
		entry->created_ms = created_ms;
}

bool cancelled_has(struct cancelled *cancelled, const char *id, uint64_t task_created_ms)
{
	const struct entry *entry = find(cancelled, id);

	return entry && entry->created_ms >= task_created_ms;
}

void cancelled_free(struct cancelled *cancelled)
{
	free(cancelled);
}
