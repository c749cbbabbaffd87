/* The kinds of tasks: a row each, with the script of what a job of it does. A script is a chain of events of the job, of its
 * workspace and of its exec; each step decides what the next one is, or the end. */
#pragma once

#include "wire/task.h"
#include "worker/workspace/admission.h"

struct job;
struct result;

struct kind {
	/* Before the claim. The reservation becomes the script's; NULL: the job's end is certain, nothing will begin. 0 or -ENOMEM. */
	int (*prepare)(struct job *job, const struct reservation *reservation);
	void (*start)(struct job *job); /* the lease is the job's */
	void (*tick)(struct job *job, uint64_t now_mono_ms);
	void (*cancel)(struct job *job); /* while the lease is the job's: its sender wants it no more */
	/* Its end is decided. job_may_tell(), then job_is_unwound(), follow, now or later; also when it was only prepared. */
	void (*end)(struct job *job);
	void (*fill_result)(const struct job *job, struct result *result); /* what it knows; after job_may_tell() */
	void (*release)(struct job *job); /* the job is over: nothing of the script stays with it */
};

const struct kind *kind_of(enum task_kind kind);

extern const struct kind kind_run; /* kind_run.c */
