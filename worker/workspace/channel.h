/* The engine's end of the guest channel: frames (wire/frame.h) over a stream socket, inside the loop. What arrives was
 * written by a guest that may have been taken over. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "wire/frame.h"

#define CHANNEL_MAX_QUEUED_BYTES (8u << 20) /* to the guest: a whole task (1 MB) and its acknowledgements, with room */

struct channel;

struct channel_events {
	/* false: not now; the frame stays where it is and comes again after channel_resume(). */
	bool (*on_frame)(void *ctx, const struct frame *frame);
	/* End of file, an error, or bytes that are no frame. At most once; nothing follows it. */
	void (*on_broken)(void *ctx, const struct err *err);
};

/* Takes ownership of fd. Callbacks must not call channel_close(). */
int channel_open(struct event_base *base, int fd, const struct channel_events *events, void *ctx, struct channel **ret,
		 struct err *err);

/* Queues the frame. */
int channel_send(struct channel *channel, const struct frame *frame, struct err *err);

void channel_resume(struct channel *channel);
bool channel_is_held(const struct channel *channel); /* a frame was refused, and waits */

void channel_close(struct channel *channel); /* accepts NULL */
