#include "worker/workspace/shape.h"

#include <string.h>

#include "wire/task.h"

#define LEAST_MIB 64

uint32_t shape_memory_class_mib(uint32_t memory_mib)
{
	for (uint32_t mib = LEAST_MIB; mib <= TASK_MAX_MEMORY_MIB; mib *= 2) {
		if (memory_mib <= mib)
			return mib;
		if (memory_mib <= mib / 2 * 3 && mib < TASK_MAX_MEMORY_MIB)
			return mib / 2 * 3;
	}
	return 0;
}

bool shape_is_same(const struct shape *a, const struct shape *b)
{
	return a->cpus == b->cpus && a->memory_mib == b->memory_mib && a->disk_mib == b->disk_mib && strcmp(a->image, b->image) == 0;
}
