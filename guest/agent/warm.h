/* The warm runtime of an image: an interpreter that was started before the VM's snapshot was taken, and waits. A program
 * of that runtime then runs in a fork of it instead of being executed.
 *
 * The image names the runtime in WARM_FILE. What waits is the image's own interpreter, as root, in a mount namespace of
 * its own in which the bare image is all there is; it has never seen a task, and no task can reach it. Its forks take
 * the same steps as every child of the agent (launch_steps.h). Whatever a fork could not do as an executed program
 * would, is executed. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "guest/agent/launch.h"
#include "wire/frame.h"

#define WARM_FILE "/etc/mayfly/warm" /* in the image: the name of its runtime, a line */

/* In a template, with the image mounted at /image. 1: it is started and ready. 0: the image names none. Otherwise a
 * negative errno: there is none, and programs are executed. Waits for it, WARM_PATIENCE_MS at most. */
int warm_start(struct err *err);

/* The kernel's random numbers are this VM's own now: so are the interpreter's, from here on. Before any program.
 * Does not wait. */
void warm_reseed(void);

/* Can this FRAME_RUN be a fork of what waits, and nobody see the difference? */
bool warm_takes(const struct frame *run);

/* It was asked for a program and does not answer: it ends, and later programs are executed. */
void warm_give_up(void);

/* As launch_begin(). */
int warm_launch(struct launch *launch, const struct frame *run, const char *cgroup, const int stdio_fds[3],
		struct err *err);
