/* The control group of the task's program: everything that descends from it lives and dies in there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_TASK CGROUP_ROOT "/task"

/* With a limit on processes; its memory is memory_limit()'s. */
int cgroup_make(struct err *err);

/* Once nothing lives in it. If it stays, making the next one says so. */
void cgroup_remove(void);

/* Kill everything in it. */
void cgroup_kill(void);

bool cgroup_is_populated(void);

/* The number behind `key` in a flat keyed file of the cgroup, 0 when there is none. */
uint64_t cgroup_number(const char *file, const char *key);

/* Its processes, threads counted one by one. */
uint64_t cgroup_tasks(void);

/* The process in it that the kernel would kill first for memory, its name in `name` (comm, at most 15 bytes); 0: it is empty. */
int cgroup_largest(char name[16]);
