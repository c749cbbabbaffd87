/* The memory of the task's program: how much it may have, and its end when that is not enough.
 *
 * The kernel kills when it can free nothing more. A program that grows in small steps never lets it come to that: the pages of
 * its own code and libraries can always be freed, and are read again from the image at once, so it stands still without end.
 * The agent tells that from work by what is left of the page cache: next to nothing, and all of it read again and again, by
 * page faults. Nobody who reads big files looks like that (their pages fill what memory there is), nor anybody who merely
 * holds much memory (what they read stays). The agent's own code lies in the initrd, whose pages are never freed. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct memory_sample {
	uint64_t at_ms;	    /* monotonic; 0: none was taken */
	uint64_t files_kib; /* page cache of files that can be freed */
	uint64_t refaults;  /* pages of files that were read again after they had been freed */
	uint64_t faults;    /* page faults that had to read */
};

struct memory_victim {
	int pid; /* 0: nobody was killed, or nothing says who */
	char name[16];
};

struct memory {
	uint64_t limit_kib;
	bool is_ending_all; /* lack of memory ends the whole program, not one process */
	int events_fd;	    /* says when the limit is met; -1 */
	int log_fd;	    /* the kernel's, from the start of the program on; -1 */
	uint64_t watch_until_ms;
	uint64_t starved_ms; /* how long it has been standing still */
	struct memory_sample last;
	struct memory_victim victim; /* the first */
	uint64_t kills;		     /* by the agent */
};

/* Give the program's cgroup what the VM has free, less a reserve for kernel and agent. ERR_INPUT: that is nothing. */
int memory_limit(struct memory *memory, bool is_ending_all, struct err *err);

/* The descriptor to wait for, and how long at most (-1: for ever). */
void memory_poll(const struct memory *memory, struct pollfd *fd, int *ret_ms);

/* Look after it; true when the program, or a process of it, was just killed. */
bool memory_step(struct memory *memory);

/* The end: how many processes lack of memory killed, and who was the first (memory->victim). */
uint64_t memory_kills(struct memory *memory);

void memory_close(struct memory *memory);
