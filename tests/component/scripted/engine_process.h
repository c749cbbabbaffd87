/* The worker's engine in a process of its own (engine_only.c), with a folder for its settings and its log. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct engine_process {
	pid_t pid;  /* 0: it has ended */
	int status; /* waitpid's, when it has */
	char folder[64];
};

struct engine_process_config {
	const char *brokers, *prefix;
	unsigned redis_port, slots;
	bool has_clones;
	int supervisor_fd, disk_lane_fd, vmm_lane_fd; /* borrowed: the engine's ends */
};

/* Fails the test itself. */
void engine_process_start(const struct engine_process_config *config, struct engine_process *ret);

bool engine_process_has_ended(struct engine_process *process);

void engine_process_terminate(const struct engine_process *process); /* in order, as a supervisor would */

/* Whether a file of that name is among its descriptors. */
bool engine_process_has_open(const struct engine_process *process, const char *name);

/* Its Unix sockets: its ends of what it was given, and some of its libraries'. */
size_t engine_process_sockets(const struct engine_process *process);

/* Kill it if it has not ended. Its log is shown and stays, or goes. */
void engine_process_clear(struct engine_process *process, bool is_shown);
