/* The jobs of this worker by the id of their task. Several jobs may have one id: one runs, and others are the same task sent
 * again, or a mistake. */
#pragma once

#include "worker/job.h"

struct job_index;

struct job_index *job_index_new(void); /* NULL: out of memory */
void job_index_free(struct job_index *index);

void job_index_add(struct job_index *index, struct job *job);
void job_index_remove(struct job *job); /* one that was added */

/* Visit the jobs of that id: from NULL to NULL. */
struct job *job_index_next(struct job_index *index, const char *id, const struct job *after);
