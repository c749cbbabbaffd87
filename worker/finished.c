#include "worker/finished.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 19) /* five times FINISHED_MAX: most look-ups meet no task, and so no page of the ring */

struct entry {
	struct finished_task task; /* an id of "": nothing */
	uint32_t next;	     /* an older one of the same bucket */
	uint32_t bucket;
};

/* A ring, each entry of which is also in the list of its id's bucket. Places are counted from 1; 0 ends a list. */
struct finished {
	struct entry ring[FINISHED_MAX];
	uint32_t buckets[BUCKETS];
	uint32_t at;   /* the last place that was filled */
	uint64_t seed; /* of the buckets: nobody chooses ids that share one */
};

/* Pages that were never used cost nothing. */
struct finished *finished_new(void)
{
	struct finished *finished = calloc(1, sizeof(*finished));

	if (finished)
		finished->seed = ident_hash_seed();
	return finished;
}

/* The oldest of all is the last in its list. */
static void forget_oldest(struct finished *finished, uint32_t place)
{
	uint32_t *link = &finished->buckets[finished->ring[place - 1].bucket];

	while (*link && *link != place)
		link = &finished->ring[*link - 1].next;
	*link = 0;
}

/* One of the same id and log that was added before ends earlier, and is met later: it can never matter again. */
void finished_add(struct finished *finished, const char *id, const char *content, const struct record_place *place, int64_t end)
{
	uint32_t at = finished->at = finished->at % FINISHED_MAX + 1;
	struct entry *entry = &finished->ring[at - 1];
	struct finished_task *task = &entry->task;

	if (task->id[0])
		forget_oldest(finished, at);
	*task = (struct finished_task){ .place = *place, .end = end };
	memcpy(task->id, id, strnlen(id, IDENT_ID_MAX));
	memcpy(task->content, content, strnlen(content, LEASE_CONTENT_MAX));
	entry->bucket = (uint32_t)(ident_hash(id, finished->seed) % BUCKETS);
	entry->next = finished->buckets[entry->bucket];
	finished->buckets[entry->bucket] = at;
}

const struct finished_task *finished_find(const struct finished *finished, const char *id, const struct record_place *place)
{
	uint32_t at = finished->buckets[ident_hash(id, finished->seed) % BUCKETS];

	for (; at; at = finished->ring[at - 1].next) {
		const struct finished_task *task = &finished->ring[at - 1].task;

		if (place->offset < task->end && record_place_is_same_log(&task->place, place) && strcmp(task->id, id) == 0)
			return task;
	}
	return NULL;
}

void finished_free(struct finished *finished)
{
	free(finished);
}
