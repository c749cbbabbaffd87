/* What the agent and a waiting interpreter say to each other, over a socket pair of SOCK_SEQPACKET. Both are of one
 * build: the interpreter's library lies in the initrd beside the agent.
 *
 *   interpreter  READY    it waits; or it ends, and there is none
 *   agent        RESEED   the kernel's random numbers are this VM's own
 *   agent        PROGRAM  a struct warm_order; with it, as SCM_RIGHTS, the program's three standard streams and the pipe
 *                         of its reports (struct launch_report), through which alone it answers */
#pragma once

#include <stdint.h>

#define WARM_LIBRARIES	  "/warm" /* in the initrd: NAME.so for a runtime NAME */
#define WARM_SOCKET_FD	  3
#define WARM_LIBRARY_FD	  4
#define WARM_ORDER_FDS	  4
#define WARM_ORDER_MAX	  (64 << 10) /* bytes; a socket's buffer takes it whole. A program with more is executed */

enum warm_word { WARM_READY = 1, WARM_RESEED, WARM_PROGRAM };

struct warm_order {
	uint32_t word;
	uint32_t n_argv, n_env; /* texts that follow, behind the cgroup's path, each with its NUL */
};
