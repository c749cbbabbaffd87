/* The way from a fork of the waiting interpreter to a program. */
#pragma once

#include <limits.h>

#define WARM_ARGV_MAX  4096 /* arguments; an order has no room for more */
#define WARM_PATH_ROOM (64 << 10)

struct program_order {
	const char *cgroup;
	char **argv, **env; /* NULL at the end; all in one piece, argv first */
	unsigned n_argv, n_env;
	char *texts, *texts_end; /* that piece */
	int stdio_fds[3];
	int agent_ns_fd; /* the agent's mount namespace */
};

/* In a child of PID 1 or of a process that ends, after PyOS_AfterFork_Child(). Reports through `report_fd` (struct
 * launch_report): once who it is, then what failed, or that the program begins. */
_Noreturn void program_run(const struct program_order *order, int report_fd);
