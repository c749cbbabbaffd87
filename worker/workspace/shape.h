/* The shape of a workspace: what it has in common with others that could stand in for it. Memory and disk come in classes, so that there
 * are few of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct shape {
	const char *image; /* an ident; lent */
	uint32_t cpus, memory_mib, disk_mib;
};

/* The class that holds as much, at most half as much again: 64, 96, 128, 192, 256, ... MiB. 0: no task may have that much. */
uint32_t shape_memory_class_mib(uint32_t memory_mib);

bool shape_is_same(const struct shape *a, const struct shape *b);
