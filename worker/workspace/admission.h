/* Admission: may this job start here, now?
 *
 * It counts promises, not use: a slot, memory and scratch bytes are reserved when a job is admitted and returned when its
 * last resource is gone, so a job still tearing down keeps its share. Nothing here does I/O. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/task.h"

struct admission;

struct admission_limits {
	uint32_t slots;
	uint64_t memory_mib;
	uint64_t disk_mib;
	uint32_t overhead_mib; /* added to each job's memory: the VMM's own */
	uint32_t cpus;         /* of this host: the most one job may ask for */
	uint32_t largest_disk_mib;
};

struct reservation {
	uint32_t slot;
	uint64_t memory_mib;
	uint64_t disk_mib;
};

enum admission_verdict {
	ADMISSION_VERDICT_ADMITTED,
	ADMISSION_VERDICT_WAIT,       /* fits this host, not at this moment */
	ADMISSION_VERDICT_IMPOSSIBLE, /* can never fit: `field` and `message` say what */
	ADMISSION_VERDICT_COUNT
};

struct admission *admission_new(const struct admission_limits *limits); /* NULL: out of memory */

/* On ADMITTED `ret` is reserved until admission_return(). On IMPOSSIBLE the flaw is filled. */
enum admission_verdict admission_ask(struct admission *admission, const struct task *task, struct reservation *ret,
				     struct task_flaw *flaw);

/* Only the question of IMPOSSIBLE; reserves nothing. */
bool admission_is_possible(const struct admission *admission, const struct task *task, struct task_flaw *flaw);

void admission_return(struct admission *admission, const struct reservation *reservation);

void admission_free(struct admission *admission);
