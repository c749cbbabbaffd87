/* The engine: the one event loop, and everything that hangs on it. It runs as its own user without capabilities under
 * seccomp (host/confine.h), because it parses what senders, brokers, Redis, VMMs and guests say. It joins the parts of a worker, and
 * decides when the process begins, drains and ends; what the parts do is theirs. */
#pragma once

#include <stdbool.h>

#include "worker/settings.h"
#include "worker/supervisor_link.h"

/* What the supervisor hands to the engine: its end of the control socket and of the lanes. */
struct engine_ends {
	int supervisor_fd;
	int lane_fds[ENGINE_LANE_COUNT];
	const char *accel; /* "kvm", "tcg" or "none", as the supervisor found it */
	bool must_prove_host; /* before it joins the group: who is back within the session gets its old partitions */
};

#define ENGINE_EXIT_UNFIT 3

/* Runs until drained (0), until this host is seen not to be fit (ENGINE_EXIT_UNFIT), until it must not go on (1), or not at all:
 * Kafka or Redis refuses it (ACCESS_EXIT_REFUSED). */
int engine_main(const struct settings *settings, const struct engine_ends *ends);
