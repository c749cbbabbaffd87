/* The memory of the programs: how much they may have together, and the end of one when that is not enough.
 *
 * The limit is on the cgroup of all programs: what the VM has free, less a reserve for kernel and agent. When it is
 * met and nothing can be freed, the kernel kills the largest process of all programs; memory.oom.group of its cgroup
 * decides whether its program goes with it. The others go on. Who holds most pays: a small program beside a large one
 * that grows is not the one that ends.
 *
 * A program that grows in small steps never lets it come to that: the pages of its own code and libraries can always
 * be freed, and are read again from the image at once, so everything stands still without end. The agent tells that
 * from work by what is left of the page cache: next to nothing, and all of it read again and again, by page faults.
 * Nobody who reads big files looks like that (their pages fill what memory there is), nor anybody who merely holds
 * much memory (what they read stays). Then the agent ends whom the kernel would. Its own code lies in the initrd,
 * whose pages are never freed. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/agent/cgroup.h"

struct memory_sample {
	uint64_t at_ms;	    /* monotonic; 0: none was taken */
	uint64_t files_kib; /* page cache of files that can be freed */
	uint64_t refaults;  /* pages of files that were read again after they had been freed */
	uint64_t faults;    /* page faults that had to read */
};

/* Of all programs together. */
struct memory {
	struct cgroup programs;
	uint64_t limit_kib; /* 0: not set yet */
	int events_fd;	    /* says when the limit is met; -1 */
	uint64_t watch_until_ms;
	uint64_t starved_ms; /* how long it has been standing still */
	struct memory_sample last;
};

/* Of one program, from memory_join() to memory_leave(). */
struct memory_share {
	uint32_t exec;
	const struct cgroup *cgroup;
	bool is_ending_all;	      /* lack of memory ends the whole program, not one process */
	uint64_t limit_kib;	      /* what the others had left when it began */
	int log_fd;		      /* the kernel's, from its beginning on; -1 */
	struct cgroup_process victim; /* the first; pid 0: nobody was killed, or nothing says who */
	uint64_t kills;		      /* by the agent; after memory_leave() by anybody */
};

/* Before the first program: the cgroup of all, and its limit. Does nothing when that was done. ERR_INPUT: there is no
 * memory. */
int memory_open(struct memory *memory, struct err *err);

/* A program begins in `cgroup`, which stays where it is. */
int memory_join(struct memory *memory, struct memory_share *share, uint32_t exec, const struct cgroup *cgroup,
		bool is_ending_all, struct err *err);

/* It ended; its cgroup still exists. Fine twice, and when it never joined (log_fd is -1, cgroup NULL). */
void memory_leave(struct memory_share *share);

/* The descriptor to wait for, and how long at most (-1: for ever). */
void memory_poll(const struct memory *memory, struct pollfd *fd, int *ret_ms);

/* Look after it. Whom it kills is reaped like any other. */
void memory_step(struct memory *memory, struct memory_share *const *shares, unsigned n_shares);
