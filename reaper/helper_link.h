/* The engine's end of a helper process that blocks (the root lane, the Kafka process): one request over SOCK_SEQPACKET, one
 * reply, a deadline. A helper that dies or hangs is lost: the request at hand is answered with nothing, and the next ones wait
 * a moment for another helper, should the owner get one. */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/err.h"
#include "base/own.h"

struct helper_link;

/* Takes `fd`. `reply_max`: the longest reply. `on_lost` may come at any time, once per helper, before the request at hand is
 * answered. */
int helper_link_new(struct event_base *base, int fd, size_t reply_max, void (*on_lost)(void *ctx, const char *why), void *ctx,
	    struct helper_link **ret, struct err *err);

/* Another helper, after a loss. Takes `fd`. */
void helper_link_attach(struct helper_link *link, int fd);

/* One at a time; `data` is borrowed until it is answered. `on_reply` borrows the data; NULL: the helper was lost over it, or there is none. Not from inside the call. */
void helper_link_call(struct helper_link *link, const void *data, size_t len, unsigned patience_ms,
	      void (*on_reply)(void *ctx, const void *data, size_t len), void *ctx);

void helper_link_free(struct helper_link *link); /* closes: the helper sees the end and exits */

DEFINE_FREEP(struct helper_link, helper_link_free)
