/* What this host has for microVMs, and what follows from it. It is asked for here and nowhere else: a worker's defaults
 * and `mayfly doctor` are computed from the same numbers. Blocking, and short. */
#pragma once

#include <stdint.h>

#define HOST_NO_LIMIT UINT64_MAX

struct host_limits {
	uint32_t cpus;		  /* that this process may use: of the machine, its affinity, its control groups' quota */
	uint64_t memory_mib;	  /* of the machine, or of the narrowest control group that this process is in */
	uint64_t machine_mib;	  /* of the machine */
	uint64_t available_mib;	  /* of the machine's, without swapping */
	uint64_t disk_free_mib;	  /* for files in the state directory */
	uint64_t open_files;	  /* of one process of ours; HOST_NO_LIMIT, as the next two */
	uint64_t locked_bytes;	  /* of one process of ours, unless it may raise that */
	uint64_t processes;	  /* and threads, of all: the kernel's, or the narrowest control group's */
	uint64_t uids;		  /* that exist here: from 0 to one less; few in a user namespace */
};

/* It cannot fail: what cannot be read counts as not limited, and a machine that says nothing about itself has one
 * processor and no memory. `state_dir` need not exist yet. `root` is "" or, for tests, a folder that holds a proc/ and
 * a sys/. */
void host_limits_read(const char *root, const char *state_dir, struct host_limits *ret);

/* Defaults of a worker. Three quarters of the memory and of the disk are for tasks: the page cache, and whatever else
 * there is here, want some. As many tasks at a time as there are two for each processor (one half of a short task is
 * its start, its end and its waiting), if each has at least the memory and the disk that a task has by default; never
 * none. `overhead_mib`: of a VMM. */
uint64_t host_limits_memory_mib(const struct host_limits *limits);
uint64_t host_limits_disk_mib(const struct host_limits *limits);
uint32_t host_limits_slots(const struct host_limits *limits, uint64_t memory_mib, uint64_t disk_mib,
			   uint32_t overhead_mib);

/* When less than this is available, no task is started beside others (host/pressure.h): a thirty-second of the memory,
 * from 128 to 1024 MiB. */
uint64_t host_limits_floor_mib(const struct host_limits *limits);

/* For how many microVMs at a time descriptors and processes are enough. */
uint64_t host_limits_most_vms(const struct host_limits *limits);
