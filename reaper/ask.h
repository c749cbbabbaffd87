/* The engine's end of a helper process that blocks (the root lane, the teller): one request over SOCK_SEQPACKET, one
 * reply, a deadline. A helper that dies or hangs ends the reaper: nothing lives in it, the supervisor starts all of
 * it anew. */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/err.h"
#include "base/own.h"

struct ask;

/* Takes `fd`. `reply_max`: the longest reply. `on_fault` may come at any time, once. */
int ask_new(struct event_base *base, int fd, size_t reply_max, void (*on_fault)(void *ctx, const char *why), void *ctx,
	    struct ask **ret, struct err *err);

/* One at a time. `on_reply` borrows the data; it does not run after a fault. */
void ask_send(struct ask *ask, const void *data, size_t len, unsigned patience_ms,
	      void (*on_reply)(void *ctx, const void *data, size_t len), void *ctx);

void ask_free(struct ask *ask); /* closes: the helper sees the end and exits */

DEFINE_FREEP(struct ask, ask_free)
