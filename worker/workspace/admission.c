#include "worker/workspace/admission.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/disk/disk.h"

struct admission {
	struct admission_limits limits;
	uint64_t memory_mib;  /* promised */
	uint64_t disk_mib;    /* promised */
	uint32_t n_free;
	uint32_t free_slots[]; /* a stack: the slot given back last is the warmest */
};

struct admission *admission_new(const struct admission_limits *limits)
{
	struct admission *admission = calloc(1, sizeof(*admission) + limits->slots * sizeof(uint32_t));

	if (!admission)
		return NULL;
	admission->limits = *limits;
	admission->n_free = limits->slots;
	for (uint32_t i = 0; i < limits->slots; i++)
		admission->free_slots[i] = limits->slots - 1 - i;
	return admission;
}

static bool flaw_too_much(struct task_flaw *flaw, const char *field, const char *unit, uint64_t asked, uint64_t limit)
{
	(void)snprintf(flaw->field, sizeof(flaw->field), "%s", field);
	(void)snprintf(flaw->message, sizeof(flaw->message),
		       "%s: %" PRIu64 " %s were asked for, a task can have at most %" PRIu64 " here", field, asked, unit,
		       limit);
	return false;
}

/* A disk is made in one of few sizes. */
static uint64_t largest_class_mib(uint64_t limit_mib)
{
	uint64_t largest = limit_mib;

	while (largest > 0 && disk_size_class_mib((unsigned)largest) > limit_mib)
		largest /= 2;
	return largest;
}

bool admission_is_possible(const struct admission *admission, const struct task *task, struct task_flaw *flaw)
{
	const struct admission_limits *limits = &admission->limits;
	uint64_t largest_disk = limits->largest_disk_mib < limits->disk_mib ? limits->largest_disk_mib : limits->disk_mib;

	if (task->cpus > limits->cpus)
		return flaw_too_much(flaw, "cpus", "processors", task->cpus, limits->cpus);
	if ((uint64_t)task->memory_mib + limits->overhead_mib > limits->memory_mib)
		return flaw_too_much(flaw, "memory_mib", "MiB", task->memory_mib,
				     limits->memory_mib > limits->overhead_mib ?
					     limits->memory_mib - limits->overhead_mib :
					     0);
	if (task->disk_mib > largest_disk || disk_size_class_mib(task->disk_mib) > largest_disk)
		return flaw_too_much(flaw, "disk_mib", "MiB", task->disk_mib, largest_class_mib(largest_disk));
	return true;
}

enum admission_verdict admission_ask(struct admission *admission, const struct task *task, struct reservation *ret,
				     struct task_flaw *flaw)
{
	const struct admission_limits *limits = &admission->limits;
	uint64_t memory_mib = (uint64_t)task->memory_mib + limits->overhead_mib;
	uint64_t disk_mib = disk_size_class_mib(task->disk_mib);

	if (!admission_is_possible(admission, task, flaw))
		return ADMISSION_VERDICT_IMPOSSIBLE;
	if (admission->n_free == 0 || admission->memory_mib + memory_mib > limits->memory_mib ||
	    admission->disk_mib + disk_mib > limits->disk_mib)
		return ADMISSION_VERDICT_WAIT;
	ret->slot = admission->free_slots[--admission->n_free];
	ret->memory_mib = memory_mib;
	ret->disk_mib = disk_mib;
	admission->memory_mib += ret->memory_mib;
	admission->disk_mib += ret->disk_mib;
	return ADMISSION_VERDICT_ADMITTED;
}

void admission_return(struct admission *admission, const struct reservation *reservation)
{
	assert(admission->n_free < admission->limits.slots);
	assert(admission->memory_mib >= reservation->memory_mib && admission->disk_mib >= reservation->disk_mib);
	admission->free_slots[admission->n_free++] = reservation->slot;
	admission->memory_mib -= reservation->memory_mib;
	admission->disk_mib -= reservation->disk_mib;
}

void admission_free(struct admission *admission)
{
	free(admission);
}
