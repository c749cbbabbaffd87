/* An engine's end of a lane: one request is on its way at a time, the rest waits here. Worker and reaper use the same.
 *
 * Theory of operation. A call is waiting, then sent, then answered; in each it is the client's, with copies of what the caller
 * lent. Calls are sent in the order in which they were made, the next one when the one before was answered.
 * - A lane that dies, says nonsense, or does not answer in time, is lost: the call that was sent is answered with an error,
 *   on_replace asks for another lane, and those that wait go to that one. In time is: until the call's deadline, but at least
 *   LANE_PATIENCE_LEAST_MS after it was sent, because a lane that works is not to be killed for what waited, and at most
 *   LANE_PATIENCE_MS, because one that hangs is not to take everyone's time that waits behind it.
 * - A call that waits until its deadline is answered with an error; that says nothing about the lane.
 * The answer to a call never comes from inside lane_client_call(), and comes once. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "lane/protocol.h"

#define LANE_PATIENCE_LEAST_MS 3000
#define LANE_PATIENCE_MS 20000 /* the slowest request is a format of the largest disk on a busy host: ~1 s */

struct lane_client;

/* `err` NULL: it was done. `reply` NULL: the lane was lost, or did not come to it; else the lane says that it failed. What
 * the callback wants it takes: TAKE_PTR(reply->secret), take_fd(&reply->fds[i]); the rest is wiped and closed. */
typedef void (*lane_client_fn)(void *ctx, struct lane_reply *reply, const struct err *err);

/* `name` is borrowed: it is in logs and messages. on_replace() asks for another lane; lane_client_attach() brings it. NULL:
 * no memory, or none that may be locked. */
struct lane_client *lane_client_new(struct event_base *base, const char *name, void (*on_replace)(void *ctx), void *ctx);

/* Takes `fd`. Only after lane_client_new() or on_replace(). */
void lane_client_attach(struct lane_client *client, int fd);

/* For the request of who has no deadline of its own. */
uint64_t lane_deadline_boot_ms(void);

/* Copies the request; its secret and descriptors stay the caller's. 0, or -ENOMEM (also of descriptors and locked memory):
 * then `fn` never runs. */
int lane_client_call(struct lane_client *client, const struct lane_request *request, lane_client_fn fn, void *ctx);

/* Callbacks do not run any more. The lane sees the end of its socket, and ends. Accepts NULL. */
void lane_client_free(struct lane_client *client);
