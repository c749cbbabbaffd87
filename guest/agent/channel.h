/* The agent's end of the guest channel: whole frames over the virtio-serial port, without blocking.
 *
 * The host is not trusted to be well-behaved, only to own the machine: what it sends is bounded and checked; when it
 * closes its end, there is nobody left to work for, and the VM ends. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/frame.h"

struct channel {
	int fd; /* the port, nonblocking */
	struct buf in, out;
	bool was_connected; /* before the host's first byte, "no peer" means "not yet" */
	struct frame frame; /* what channel_next() gave out last */
	size_t frame_bytes;
};

void channel_open(struct channel *channel, int fd); /* takes the descriptor */

/* Read what is there. 0; or a negative errno with `err` filled: the host is gone. */
int channel_read(struct channel *channel, struct err *err);

/* The next whole frame, valid until the next channel_next() or channel_read(); NULL when none is whole yet. *ret_r is
 * -EBADMSG with `why` filled when bytes arrived that are no frame (they are dropped: the stream cannot be read on). */
const struct frame *channel_next(struct channel *channel, int *ret_r, char why[160]);

/* Queue a frame. -ENOBUFS when the host does not read and the queue is full. */
int channel_send(struct channel *channel, const struct frame *frame);

/* Write as much of the queue as the port takes. 0, or a negative errno: the host is gone. */
int channel_write(struct channel *channel);

/* Write the whole queue, waiting for the host. 0, or a negative errno. */
int channel_flush(struct channel *channel);
