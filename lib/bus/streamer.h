/* The streamer: an idempotent producer for output chunks and lifecycle events, inside the loop. Every message is
 * acknowledged by on_delivered exactly once, in time or as failed. After an error that ends the producer it goes on
 * with another. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct streamer;

/* on_delivered(ctx, opaque, is_delivered): opaque is what streamer_send() was given. */
int streamer_new(struct event_base *base, const char *brokers,
		 void (*on_delivered)(void *ctx, void *opaque, bool is_delivered), void *ctx, struct streamer **ret,
		 struct err *err);

/* Copies. 0, or -ENOBUFS when the producer's queue is full (try again after an on_delivered), or another negative errno.
 * After a failure on_delivered does not run for it. */
int streamer_send(struct streamer *streamer, const char *topic, const void *key, size_t key_len, const void *data,
		  size_t len, void *opaque, struct err *err);

void streamer_free(struct streamer *streamer); /* waits up to 2 s for what is in flight */
