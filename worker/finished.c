#include "worker/finished.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 17) /* more than FINISHED_MAX: a look-up meets one task, not a list of them */

struct finished {
	uint64_t seed;
	size_t n;
	TAILQ_HEAD(finished_tasks, finished_task) tasks;
	LIST_HEAD(finished_bucket, finished_task) buckets[BUCKETS];
};

struct finished *finished_new(void)
{
	struct finished *finished = calloc(1, sizeof(*finished)); /* empty lists are zeroes */

	if (!finished)
		return NULL;
	TAILQ_INIT(&finished->tasks);
	finished->seed = ident_hash_seed();
	return finished;
}

static void forget(struct finished *finished, struct finished_task *task)
{
	TAILQ_REMOVE(&finished->tasks, task, by_age);
	LIST_REMOVE(task, same_bucket);
	finished->n--;
	free(task);
}

static struct finished_task *find_same(struct finished *finished, const char *id, const struct record_place *place)
{
	struct finished_task *task;

	LIST_FOREACH(task, &finished->buckets[ident_hash(id, finished->seed) % BUCKETS], same_bucket)
		if (record_place_is_same_log(&task->place, place) && strcmp(task->id, id) == 0)
			return task;
	return NULL;
}

int finished_add(struct finished *finished, const char *id, const char *content, const struct record_place *place,
		 int64_t end)
{
	struct finished_task *task = find_same(finished, id, place);

	if (task) /* an older end can never matter again */
		forget(finished, task);
	task = calloc(1, sizeof(*task));
	if (!task)
		return -ENOMEM;
	if (finished->n == FINISHED_MAX)
		forget(finished, TAILQ_FIRST(&finished->tasks));
	memcpy(task->id, id, strnlen(id, IDENT_ID_MAX));
	memcpy(task->content, content, strnlen(content, LEASE_CONTENT_MAX));
	task->place = *place;
	task->end = end;
	TAILQ_INSERT_TAIL(&finished->tasks, task, by_age);
	LIST_INSERT_HEAD(&finished->buckets[ident_hash(id, finished->seed) % BUCKETS], task, same_bucket);
	finished->n++;
	return 0;
}

const struct finished_task *finished_find(const struct finished *finished, const char *id, const struct record_place *place)
{
	const struct finished_task *task;

	if (finished->n == 0)
		return NULL;
	LIST_FOREACH(task, &finished->buckets[ident_hash(id, finished->seed) % BUCKETS], same_bucket)
		if (place->offset < task->end && record_place_is_same_log(&task->place, place) && strcmp(task->id, id) == 0)
			return task;
	return NULL;
}

void finished_free(struct finished *finished)
{
	if (!finished)
		return;
	while (finished->n)
		forget(finished, TAILQ_FIRST(&finished->tasks));
	free(finished);
}
