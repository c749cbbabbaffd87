#include "worker/job_index.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 14) /* a few times what a large worker has: a look-up meets no other job */

LIST_HEAD(job_bucket, job);

struct job_index {
	uint64_t seed;
	struct job_bucket buckets[BUCKETS];
};

struct job_index *job_index_new(void)
{
	struct job_index *index = calloc(1, sizeof(*index)); /* empty lists are zeroes */

	if (index)
		index->seed = ident_hash_seed();
	return index;
}

void job_index_free(struct job_index *index)
{
	free(index);
}

static struct job_bucket *bucket_of(struct job_index *index, const char *id)
{
	return &index->buckets[ident_hash(id, index->seed) % BUCKETS];
}

void job_index_add(struct job_index *index, struct job *job)
{
	LIST_INSERT_HEAD(bucket_of(index, job->task->id), job, same_bucket);
}

void job_index_remove(struct job *job)
{
	LIST_REMOVE(job, same_bucket);
}

struct job *job_index_next(struct job_index *index, const char *id, const struct job *after)
{
	struct job *job = after ? LIST_NEXT(after, same_bucket) : LIST_FIRST(bucket_of(index, id));

	while (job && strcmp(job->task->id, id) != 0)
		job = LIST_NEXT(job, same_bucket);
	return job;
}
