/* The engine's lanes: its clients of them, and the supervisor that brings another one when one is given up. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "lane/client.h"
#include "worker/supervisor_link.h"

struct engine_lanes {
	struct lane_client *clients[ENGINE_LANE_COUNT];
	int supervisor_fd; /* lent */
	struct event *readable;
	void (*on_lost)(void *ctx, const char *why); /* the supervisor is gone: there will be no more lanes */
	void *ctx;
};

/* Who calls fills supervisor_fd, on_lost and ctx. Takes the descriptors of the lanes; after a failure it is to be
 * closed as well. */
int engine_lanes_open(struct engine_lanes *lanes, struct event_base *base, const int fds[ENGINE_LANE_COUNT],
		      struct err *err);
void engine_lanes_close(struct engine_lanes *lanes);
