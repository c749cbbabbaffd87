/* Control groups: one for each program, below one for all of them. Whatever descends from a program lives and dies in
 * its own; what programs have together (memory) is limited and watched above. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define CGROUP_PROGRAMS "/programs" /* below the root, and so the kernel's log says it; a program's is its number below that */

struct cgroup {
	char path[64]; /* "": there is none */
};

/* Of all programs; before the first program's. Fine twice. */
int cgroup_prepare(struct cgroup *programs, struct err *err);

/* Of the program with this number, with a limit on processes. */
int cgroup_make(struct cgroup *cgroup, uint32_t exec, struct err *err);

/* Once nothing lives in it; fine twice. */
void cgroup_remove(struct cgroup *cgroup);

/* Kill everything in it, also what is being forked just now. */
void cgroup_kill(const struct cgroup *cgroup);

bool cgroup_is_populated(const struct cgroup *cgroup);

/* The number of the program to whose cgroup a process belongs, which may be a zombie; 0: to none. */
uint32_t cgroup_of_process(int pid);

/* The number behind `key` in a flat keyed file of the cgroup, or the only one in it (key NULL); 0 when there is none. */
uint64_t cgroup_number(const struct cgroup *cgroup, const char *file, const char *key);

int cgroup_write(const struct cgroup *cgroup, const char *file, const char *text); /* 0 or a negative errno */
/* to read; a descriptor or a negative errno */
int cgroup_open(const struct cgroup *cgroup, const char *file);

/* The process in it that the kernel would kill first for memory, with the kernel's score. */
struct cgroup_process {
	int pid; /* 0: the cgroup is empty */
	long score;
	char name[16]; /* comm */
};
struct cgroup_process cgroup_largest(const struct cgroup *cgroup);
