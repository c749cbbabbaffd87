#include "host/limits.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/own.h"
#include "host/meminfo.h"
#include "wire/task.h"

#define MIB		(1024ull * 1024)
#define DISK_MAX_MIB	(1024ull * 1024) /* of scratch disks, unless somebody says so */
#define TASKS_PER_CPU	2
#define FILES_PER_VM	8  /* in the engine: three sockets, and what tells a task's end and output */
#define PROCESSES_PER_VM 64 /* threads of a VMM (host/jail_profile.c), its guard and its jail */
#define OWN_FILES	256 /* of the engine beside those: Kafka, Redis, lanes */
#define OWN_PROCESSES	256
#define FLOOR_MIN_MIB	128
#define FLOOR_MAX_MIB	1024
#define FILE_NAME_BYTES 32 /* of a control file of ours to read */

/* A control group's file: a number, or "max". Version 1 says "no limit" by a number near 2^63, and by -1. */
static uint64_t read_number(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	uint64_t number;

	if (!file || fscanf(file, "%" SCNu64, &number) != 1 || number > INT64_MAX / 2)
		return HOST_NO_LIMIT;
	return number;
}

static void narrow(uint64_t *limit, uint64_t other)
{
	if (other < *limit)
		*limit = other;
}

struct quota {
	double cpus; /* 0: none */
};

static void narrow_quota(struct quota *quota, double us, double period_us)
{
	double cpus = us > 0 && period_us > 0 ? us / period_us : 0;

	if (cpus > 0 && (quota->cpus == 0 || cpus < quota->cpus))
		quota->cpus = cpus;
}

static void read_quota_v2(const char *group, struct quota *quota)
{
	char path[PATH_MAX + FILE_NAME_BYTES];
	cleanup_file FILE *file = NULL;
	double us, period_us;

	(void)snprintf(path, sizeof(path), "%s/cpu.max", group);
	file = fopen(path, "re");
	if (file && fscanf(file, "%lf %lf", &us, &period_us) == 2) /* not of "max" */
		narrow_quota(quota, us, period_us);
}

static void read_quota_v1(const char *group, struct quota *quota)
{
	char quota_path[PATH_MAX + FILE_NAME_BYTES], period_path[PATH_MAX + FILE_NAME_BYTES];
	uint64_t us, period_us;

	(void)snprintf(quota_path, sizeof(quota_path), "%s/cpu.cfs_quota_us", group);
	(void)snprintf(period_path, sizeof(period_path), "%s/cpu.cfs_period_us", group);
	us = read_number(quota_path);
	period_us = read_number(period_path);
	if (us != HOST_NO_LIMIT && period_us != HOST_NO_LIMIT)
		narrow_quota(quota, (double)us, (double)period_us);
}

struct narrowest {
	struct host_limits *limits;
	struct quota quota;
};

static void narrow_memory(struct narrowest *narrowest, const char *group, const char *file)
{
	char path[PATH_MAX + FILE_NAME_BYTES];
	uint64_t bytes;

	(void)snprintf(path, sizeof(path), "%s/%s", group, file);
	bytes = read_number(path);
	if (bytes != HOST_NO_LIMIT)
		narrow(&narrowest->limits->memory_mib, bytes / MIB);
}

static void narrow_processes(struct narrowest *narrowest, const char *group)
{
	char path[PATH_MAX + FILE_NAME_BYTES];

	(void)snprintf(path, sizeof(path), "%s/pids.max", group);
	narrow(&narrowest->limits->processes, read_number(path));
}

static void look_at_group(struct narrowest *narrowest, const char *controllers, const char *group)
{
	if (!*controllers) {
		narrow_memory(narrowest, group, "memory.max");
		narrow_processes(narrowest, group);
		read_quota_v2(group, &narrowest->quota);
	} else if (strcmp(controllers, "memory") == 0) {
		narrow_memory(narrowest, group, "memory.limit_in_bytes");
	} else if (strcmp(controllers, "pids") == 0) {
		narrow_processes(narrowest, group);
	} else if (strcmp(controllers, "cpu") == 0) {
		read_quota_v1(group, &narrowest->quota);
	}
}

/* From the group that we are in up to the root, which in a container is the container's. One that cannot be seen has no
 * files. */
static void look_upwards(struct narrowest *narrowest, const char *mount, const char *controllers, char *path)
{
	char group[PATH_MAX];

	for (;;) {
		char *slash = strrchr(path, '/');

		(void)snprintf(group, sizeof(group), "%s%s", mount, path);
		look_at_group(narrowest, controllers, group);
		if (!slash)
			return;
		*slash = '\0';
	}
}

/* "cpu,cpuacct" has its folder under each of its names. */
static void look_at_each(struct narrowest *narrowest, const char *root, char *controllers, const char *path)
{
	char mount[PATH_MAX / 2], copy[PATH_MAX / 2], *rest = controllers;

	do {
		const char *name = strsep(&rest, ",");

		(void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup%s%s", root, *name ? "/" : "", name);
		(void)snprintf(copy, sizeof(copy), "%s", path);
		look_upwards(narrowest, mount, name, copy);
	} while (rest);
}

/* Lines of "<number>:<controllers>:<path>". */
static void look_at_groups(struct narrowest *narrowest, const char *root)
{
	char path[PATH_MAX], line[PATH_MAX / 2];
	cleanup_file FILE *file = NULL;

	(void)snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		char *rest = line, *controllers;

		line[strcspn(line, "\n")] = '\0';
		(void)strsep(&rest, ":");
		controllers = rest ? strsep(&rest, ":") : NULL;
		if (controllers && rest)
			look_at_each(narrowest, root, controllers, rest);
	}
}

static uint32_t usable_cpus(const struct quota *quota)
{
	cpu_set_t set;
	long n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);

	if (quota->cpus > 0 && quota->cpus < (double)n)
		n = (long)(quota->cpus + 0.999); /* a part of one is one */
	return n < 1 ? 1 : (uint32_t)n;
}

static uint64_t soft_limit(__rlimit_resource_t resource)
{
	struct rlimit limit;

	return getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? HOST_NO_LIMIT : limit.rlim_cur;
}

/* Of the nearest folder that is there. */
static uint64_t free_mib(const char *folder)
{
	char path[PATH_MAX];
	struct statvfs st;

	(void)snprintf(path, sizeof(path), "%s", folder);
	while (statvfs(path, &st) < 0) {
		char *slash = strrchr(path, '/');

		if (!slash || !path[1])
			return 0;
		slash[slash == path] = '\0'; /* "/" stays */
	}
	return (uint64_t)st.f_bavail * st.f_frsize / MIB;
}

static uint64_t count_uids(const char *root)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;
	uint64_t inside, outside, count, end = 0;

	(void)snprintf(path, sizeof(path), "%s/proc/self/uid_map", root);
	file = fopen(path, "re");
	while (file && fscanf(file, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3)
		end = inside + count > end ? inside + count : end;
	return end ? end : HOST_NO_LIMIT;
}

void host_limits_read(const char *root, const char *state_dir, struct host_limits *ret)
{
	struct narrowest narrowest = { .limits = ret };
	struct meminfo memory = { 0 };
	char path[PATH_MAX];

	memset(ret, 0, sizeof(*ret));
	(void)snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	(void)meminfo_read(path, &memory); /* then there is none */
	ret->memory_mib = ret->machine_mib = memory.total_mib;
	ret->available_mib = memory.available_mib;
	(void)snprintf(path, sizeof(path), "%s/proc/sys/kernel/pid_max", root);
	ret->processes = read_number(path);
	look_at_groups(&narrowest, root);
	ret->cpus = usable_cpus(&narrowest.quota);
	ret->disk_free_mib = free_mib(state_dir);
	ret->open_files = soft_limit(RLIMIT_NOFILE);
	ret->locked_bytes = soft_limit(RLIMIT_MEMLOCK);
	ret->uids = count_uids(root);
}

uint64_t host_limits_memory_mib(const struct host_limits *limits)
{
	return limits->memory_mib / 4 * 3;
}

uint64_t host_limits_disk_mib(const struct host_limits *limits)
{
	uint64_t mib = limits->disk_free_mib / 4 * 3;

	return mib < DISK_MAX_MIB ? mib : DISK_MAX_MIB;
}

uint32_t host_limits_slots(const struct host_limits *limits, uint64_t memory_mib, uint64_t disk_mib,
			   uint32_t overhead_mib)
{
	uint64_t slots = (uint64_t)limits->cpus * TASKS_PER_CPU;

	narrow(&slots, memory_mib / (TASK_DEFAULT_MEMORY_MIB + overhead_mib));
	narrow(&slots, disk_mib / TASK_DEFAULT_DISK_MIB);
	narrow(&slots, host_limits_most_vms(limits));
	return slots ? (uint32_t)slots : 1;
}

uint64_t host_limits_floor_mib(const struct host_limits *limits)
{
	uint64_t mib = limits->memory_mib / 32;

	if (mib < FLOOR_MIN_MIB)
		return FLOOR_MIN_MIB;
	return mib < FLOOR_MAX_MIB ? mib : FLOOR_MAX_MIB;
}

static uint64_t most(uint64_t limit, uint64_t own, uint64_t each)
{
	if (limit == HOST_NO_LIMIT)
		return HOST_NO_LIMIT;
	return limit > own ? (limit - own) / each : 0;
}

uint64_t host_limits_most_vms(const struct host_limits *limits)
{
	uint64_t n = most(limits->open_files, OWN_FILES, FILES_PER_VM);

	narrow(&n, most(limits->processes, OWN_PROCESSES, PROCESSES_PER_VM));
	return n;
}
