/* Control groups of microVMs, version 2 or version 1, whichever has this host's controllers. `path` is relative to a
 * controller's mount (host/names.h). Blocking. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cgroup_limits {
	uint64_t memory_bytes;
	uint32_t pids;
	uint32_t cpus; /* whole processors of quota */
};

/* 1 or 2; 0 when neither has the memory and pids controllers. */
int cgroup_version(void);

/* Make the group, and its parents, with limits; none of its memory is swapped. -EEXIST with ERR_BUG: it is
 * somebody's already. */
int cgroup_make(const char *path, const struct cgroup_limits *limits, struct err *err);

/* Is there one, or a part of one? */
bool cgroup_exists(const char *path);

/* Move the calling process into it. */
int cgroup_enter(const char *path, struct err *err);

/* Did the kernel kill something in it for memory? */
bool cgroup_has_oom_kill(const char *path);

/* What it takes from the host now: memory that is charged to it, without files' pages, which the kernel takes back when it needs them.
 * Anybody may ask. A page is charged to whom touched it first: to a clone what it changed, not its template's. */
int cgroup_memory(const char *path, uint64_t *ret_bytes, struct err *err);

/* Members of `gid` may remove it, and others of its parent, once they are empty; nothing else: limits and membership stay root's. */
int cgroup_let_remove(const char *path, gid_t gid, struct err *err);

/* SIGKILL everything in it until it is empty, then remove it from every hierarchy. Fine when it is not there, or only half.
 * ERR_HOST when processes are left after timeout_ms (stuck in the kernel), or groups below it. */
int cgroup_destroy(const char *path, unsigned timeout_ms, struct err *err);

/* The same for who may not open what kills (version 2's cgroup.kill): `kill_fd` was opened before, or is -1 where there is no
 * such thing; then its processes are killed one by one. */
int cgroup_open_kill(const char *path);
int cgroup_destroy_by(const char *path, int kill_fd, unsigned timeout_ms, struct err *err);

/* Visit the names of the groups below `path`. */
int cgroup_each(const char *path, int (*visit)(void *ctx, const char *name), void *ctx, struct err *err);
