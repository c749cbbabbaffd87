/* What a child of the agent gives up before the first byte of the task's code runs. The child that executes a program
 * takes these steps, and so does the fork of a waiting interpreter that becomes one: what they are then allowed is the
 * same because the code is. */
#pragma once

#include <sys/types.h>

#include "guest/agent/executable.h"

#define FAILURE_FD 3 /* of the pipe of reports, on the way; it is not the program's any more */

enum launch_step { STEP_CGROUP, STEP_STDIO, STEP_ROOT, STEP_LIMITS, STEP_USER, STEP_EXEC, STEP_COUNT };

/* What is said through that pipe; small enough to pass it whole. */
struct launch_report {
	enum launch_step step;	/* that failed; STEP_COUNT: none, `pid` is on its way */
	int errnum;
	pid_t pid;
	struct executable_failure failure; /* of STEP_EXEC */
};

/* Enter `cgroup`, connect 0, 1 and 2 to `stdio_fds`, close everything above FAILURE_FD, enter the image, limit what one
 * process may use, become the user 'task'. In the mount namespace of the agent, as root. 0, or a negative errno with
 * *ret_step set. */
int launch_take_steps(const char *cgroup, const int stdio_fds[3], enum launch_step *ret_step);

/* Two of them, for whoever becomes something else: a mount namespace of its own in which `root` is "/", in the folder
 * `folder` of it; and the signals as a program finds them. 0 or a negative errno. */
int launch_enter(const char *root, const char *folder);
int launch_reset_signals(void);
