/* The way from the agent to the task's program: what happens between fork and exec, in the child. It gives up
 * everything that is the agent's before the first byte of the task's code runs, and says which step failed.
 *
 * The agent does not wait for it: once the child is the task's user, another program of the task can stop it, or kill
 * it. It reports a failure through a pipe. When that ends without a word, exec(2) closed it, or the child's end did:
 * the kernel knows which. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "wire/frame.h"

#define LAUNCH_SHOWN_BYTES 60 /* of the program's name in a sentence */

struct launch {
	pid_t pid;		 /* of the child, then of the program's first process; 0: a warm runtime has not said it yet */
	bool is_to_be_killed;	 /* as soon as it is known */
	int failure_fd;		 /* while it is on its way; else -1 */
	bool is_looked_at, has_executed; /* the former: the latter is known */
	char name[LAUNCH_SHOWN_BYTES + 1];
	char missing[FRAME_MISSING_MAX + 1]; /* filled on failure: the name of a program that the image lacks, or "" */
};

/* Before the child is reaped: did it become the program? */
void launch_look(struct launch *launch);

enum launch_news { LAUNCH_UNDER_WAY, LAUNCH_DONE, LAUNCH_FAILED };

/* Begin. `run` is a FRAME_RUN, `cgroup` the folder of the cgroup to enter; the child gets `stdio_fds` as 0, 1, 2. */
int launch_begin(struct launch *launch, const struct frame *run, const char *cgroup, const int stdio_fds[3],
		 struct err *err);

/* The part of it before there is a child: `launch`, and the end of the pipe through which the child reports (struct
 * launch_report), which the caller closes. */
int launch_prepare(struct launch *launch, const struct frame *run, int *ret_report_fd, struct err *err);

/* The program's arguments and its environment with the defaults, NULL at the end of each; NULL without memory. */
char **launch_argv(const struct frame *run);
char **launch_env(const struct frame *run);
char **launch_default_env(void);
bool launch_has_env(const struct frame *run, const char *name); /* the task says it, no default */
void launch_free_texts(char **texts);

/* What became of it. LAUNCH_FAILED with `err` filled (ERR_INPUT when the program cannot be executed): the child ends
 * by itself. */
enum launch_news launch_hear(struct launch *launch, struct err *err);
