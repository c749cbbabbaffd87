/* The engine's end of a lane: one request at a time, the rest waits here. A lane that does not answer in time, or dies, is
 * replaced by the supervisor; only the request it had in hand fails, those that wait go to its successor. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "wire/lane.h"

#define LANE_LINK_PATIENCE_MS 20000 /* the slowest request is a format of the largest disk on a busy host: ~1 s */

struct lane_link;

/* Exactly once per call, never from inside it. `reply` NULL: the lane failed, `err` says how. A reply with rc < 0 comes with
 * `err` filled too. Descriptors the callback wants are its own after take_fd(&fds[i]); the others are closed. The reply is
 * wiped afterwards. */
typedef void (*lane_link_fn)(void *ctx, const struct lane_reply *reply, int *fds, const struct err *err);

/* on_replace asks the supervisor for a new lane; lane_link_attach() brings it. */
struct lane_link *lane_link_new(struct event_base *base, const char *name, void (*on_replace)(void *ctx), void *ctx);
void lane_link_attach(struct lane_link *link, int fd); /* takes ownership */
/* 0, or -ENOMEM: then fn never runs. */
int lane_link_call(struct lane_link *link, const struct lane_request *request, lane_link_fn fn, void *ctx);
void lane_link_free(struct lane_link *link); /* callbacks do not run any more */
