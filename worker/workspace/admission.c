#include "worker/workspace/admission.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/disk/disk.h"

#define MIB (1024u * 1024u)

struct admission {
	struct admission_limits limits;
	struct admission_count count;
	uint64_t disk_mib;
	bool is_pressed;
	struct footprints footprints;
	uint32_t n_free;
	uint32_t free_slots[]; /* a stack: the slot given back last is the warmest */
};

struct admission *admission_new(const struct admission_limits *limits)
{
	uint32_t n_slots = limits->slots + limits->idle_slots;
	struct admission *admission = calloc(1, sizeof(*admission) + n_slots * sizeof(uint32_t));

	if (!admission)
		return NULL;
	admission->limits = *limits;
	admission->n_free = n_slots;
	for (uint32_t i = 0; i < n_slots; i++)
		admission->free_slots[i] = n_slots - 1 - i;
	return admission;
}

struct shape admission_shape_of(const struct task *task)
{
	return (struct shape){ .image = task->image,
			       .cpus = task->cpus,
			       .memory_mib = task->memory_mib,
			       .disk_mib = task->disk_mib };
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

bool admission_is_possible(const struct admission *admission, const struct shape *shape, struct task_flaw *flaw)
{
	const struct admission_limits *limits = &admission->limits;
	uint64_t largest_disk = limits->largest_disk_mib < limits->disk_mib ? limits->largest_disk_mib : limits->disk_mib;

	if (shape->cpus > limits->cpus)
		return flaw_too_much(flaw, "cpus", "processors", shape->cpus, limits->cpus);
	if ((uint64_t)shape->memory_mib + limits->overhead_mib > limits->memory_mib)
		return flaw_too_much(flaw, "memory_mib", "MiB", shape->memory_mib,
				     limits->memory_mib > limits->overhead_mib ?
					     limits->memory_mib - limits->overhead_mib :
					     0);
	if (shape->disk_mib > largest_disk || disk_size_class_mib(shape->disk_mib) > largest_disk)
		return flaw_too_much(flaw, "disk_mib", "MiB", shape->disk_mib, largest_class_mib(largest_disk));
	return true;
}

static uint64_t promise_mib(const struct admission *admission, const struct shape *shape)
{
	return (uint64_t)shape->memory_mib + admission->limits.overhead_mib;
}

/* Beside those that run; and one always may. */
static bool may_start(const struct admission *admission)
{
	return admission->count.active < admission->limits.slots && !(admission->is_pressed && admission->count.active > 0);
}

static bool has_room(const struct admission *admission, uint64_t memory_mib, uint64_t disk_mib)
{
	return admission->count.memory_mib + memory_mib <= admission->limits.memory_mib &&
	       admission->disk_mib + disk_mib <= admission->limits.disk_mib;
}

static void reserve(struct admission *admission, const struct reservation *reservation)
{
	admission->count.memory_mib += reservation->memory_mib;
	admission->count.promised_mib += reservation->promised_mib;
	admission->disk_mib += reservation->disk_mib;
	(*(reservation->is_idle ? &admission->count.idle : &admission->count.active))++;
}

static void give_back(struct admission *admission, const struct reservation *reservation)
{
	uint32_t *n = reservation->is_idle ? &admission->count.idle : &admission->count.active;

	assert(*n > 0 && admission->count.memory_mib >= reservation->memory_mib);
	assert(admission->disk_mib >= reservation->disk_mib);
	admission->count.memory_mib -= reservation->memory_mib;
	admission->count.promised_mib -= reservation->promised_mib;
	admission->disk_mib -= reservation->disk_mib;
	(*n)--;
}

static enum admission_verdict take(struct admission *admission, const struct reservation *wanted,
				   struct reservation *ret)
{
	if (!has_room(admission, wanted->memory_mib, wanted->disk_mib))
		return ADMISSION_VERDICT_WAIT;
	*ret = *wanted;
	ret->slot = admission->free_slots[--admission->n_free];
	reserve(admission, ret);
	return ADMISSION_VERDICT_ADMITTED;
}

enum admission_verdict admission_ask(struct admission *admission, const struct shape *shape, struct reservation *ret,
				     struct task_flaw *flaw)
{
	const struct reservation wanted = { .memory_mib = promise_mib(admission, shape),
					    .promised_mib = promise_mib(admission, shape),
					    .disk_mib = disk_size_class_mib(shape->disk_mib) };

	if (!admission_is_possible(admission, shape, flaw))
		return ADMISSION_VERDICT_IMPOSSIBLE;
	return may_start(admission) ? take(admission, &wanted, ret) : ADMISSION_VERDICT_WAIT;
}

/* Never more than was promised: its control group sees to that. */
static uint64_t idle_mib(uint64_t measured_mib, uint64_t promised_mib)
{
	if (measured_mib < ADMISSION_IDLE_FLOOR_MIB)
		measured_mib = ADMISSION_IDLE_FLOOR_MIB;
	return measured_mib < promised_mib ? measured_mib : promised_mib;
}

static uint64_t known_idle_mib(struct admission *admission, const struct shape *shape, uint64_t promised_mib)
{
	uint64_t known_mib = footprints_mib(&admission->footprints, shape);

	return known_mib ? idle_mib(known_mib, promised_mib) : promised_mib;
}

enum admission_verdict admission_ask_idle(struct admission *admission, const struct shape *shape,
					  struct reservation *ret)
{
	struct reservation wanted = { .is_idle = true,
				      .promised_mib = promise_mib(admission, shape),
				      .disk_mib = disk_size_class_mib(shape->disk_mib) };
	struct task_flaw flaw;

	wanted.memory_mib = known_idle_mib(admission, shape, wanted.promised_mib);
	if (admission->is_pressed || admission->count.idle >= admission->limits.idle_slots ||
	    !admission_is_possible(admission, shape, &flaw))
		return ADMISSION_VERDICT_WAIT;
	return take(admission, &wanted, ret);
}

enum admission_verdict admission_activate(struct admission *admission, struct reservation *reservation)
{
	assert(reservation->is_idle);
	if (!may_start(admission) || !has_room(admission, reservation->promised_mib - reservation->memory_mib, 0))
		return ADMISSION_VERDICT_WAIT;
	give_back(admission, reservation);
	reservation->is_idle = false;
	reservation->memory_mib = reservation->promised_mib;
	reserve(admission, reservation);
	return ADMISSION_VERDICT_ADMITTED;
}

bool admission_deactivate(struct admission *admission, const struct shape *shape, struct reservation *reservation)
{
	assert(!reservation->is_idle);
	if (admission->count.idle >= admission->limits.idle_slots)
		return false;
	give_back(admission, reservation);
	reservation->is_idle = true;
	reservation->memory_mib = known_idle_mib(admission, shape, reservation->promised_mib);
	reserve(admission, reservation);
	return true;
}

bool admission_would_fit(const struct admission *admission, const struct shape *shape, uint64_t memory_mib, uint64_t disk_mib)
{
	uint64_t memory_then_mib = admission->count.memory_mib - memory_mib + promise_mib(admission, shape);
	uint64_t disk_then_mib = admission->disk_mib - disk_mib + disk_size_class_mib(shape->disk_mib);

	return may_start(admission) && memory_then_mib <= admission->limits.memory_mib && disk_then_mib <= admission->limits.disk_mib;
}

void admission_measured(struct admission *admission, const struct shape *shape, struct reservation *reservation,
			uint64_t bytes)
{
	uint64_t mib = bytes / MIB + 1;

	if (!reservation->is_idle)
		return;
	footprints_add(&admission->footprints, shape, mib);
	give_back(admission, reservation);
	reservation->memory_mib = idle_mib(mib, reservation->promised_mib);
	reserve(admission, reservation);
}

void admission_return(struct admission *admission, const struct reservation *reservation)
{
	assert(admission->n_free < admission->limits.slots + admission->limits.idle_slots);
	give_back(admission, reservation);
	admission->free_slots[admission->n_free++] = reservation->slot;
}

bool admission_keep(struct admission *admission, uint64_t memory_mib)
{
	if (!has_room(admission, memory_mib, 0))
		return false;
	admission->count.memory_mib += memory_mib;
	return true;
}

void admission_drop(struct admission *admission, uint64_t memory_mib)
{
	assert(admission->count.memory_mib >= memory_mib);
	admission->count.memory_mib -= memory_mib;
}

void admission_set_pressed(struct admission *admission, bool is_pressed)
{
	admission->is_pressed = is_pressed;
}

bool admission_is_pressed(const struct admission *admission)
{
	return admission->is_pressed;
}

struct admission_count admission_count(const struct admission *admission)
{
	return admission->count;
}

void admission_free(struct admission *admission)
{
	free(admission);
}
