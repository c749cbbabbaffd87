/* A lane that touches nothing: takes the engine's requests and answers as a script says.
 *
 * Points (script.h): d:OPERATION or v:OPERATION, as lane_op_name() has them. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/secret.h"
#include "lane/protocol.h"
#include "tests/component/scripted/script.h"

struct fake_lane {
	struct event_base *base;
	int fd; /* -1: closed, until the engine asks for another */
	struct event *readable;
	struct secret *buffer;	     /* of datagrams */
	struct lane_request request; /* the last one; neither its secret nor its descriptors */
	uint64_t seq;		     /* its number */
	/* A request came. */
	void (*on_request)(void *ctx, struct fake_lane *lane);
	/* It is to be done: what belongs into its reply is the lane's then. */
	void (*on_do)(void *ctx, struct fake_lane *lane, struct lane_reply *reply);
	void *ctx;
};

void fake_lane_attach(struct fake_lane *lane, int fd); /* takes it; the lane has just been filled in, or was closed */
void fake_lane_close(struct fake_lane *lane);	       /* also the last thing */

/* False: there is no such word; fake_lane.c has them. */
bool fake_lane_say(struct fake_lane *lane, const struct script_word *word);
