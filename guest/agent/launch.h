/* The way from the agent to the task's program: what happens between fork and exec, in the child. It gives up everything
 * that is the agent's before the first byte of the task's code runs, and says which step failed. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "wire/frame.h"

struct launch {
	const struct frame *run; /* a FRAME_RUN */
	const char *cgroup;	 /* folder of the cgroup to enter */
	int stdio_fds[3];	 /* become 0, 1, 2; borrowed */
	char missing[FRAME_MISSING_MAX + 1];	 /* filled on failure: the name of a program that the image lacks, or "" */
};

/* Start the program; *ret_pid once its exec succeeded. ERR_INPUT when it cannot be executed. */
int launch_program(struct launch *launch, pid_t *ret_pid, struct err *err);
