/* The agent's end of the guest protocol's stream: whole frames over the virtio-serial port, without blocking.
 *
 * The host is not trusted to be well-behaved, only to own the machine: what it sends is bounded and checked. Peers
 * come and go:
 *
 *   before the first byte of a peer   "no peer" means "not yet": what was queued (hello) stays
 *   then                              the port says that the peer is gone, or a FRAME_SYNC says that there is another one; of the
 *                                     former nothing may be seen: a VM that was restored from a snapshot has had a peer all the time
 *
 * In both cases channel_next() answers CHANNEL_PEER, the half frame that came is dropped, and so is what was queued,
 * a half frame perhaps: the next peer gets a FRAME_SYNC first (channel_greet()). */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/frame.h"
#include "wire/frame_reader.h"

struct channel {
	int fd; /* the port, nonblocking */
	struct buf in, out;
	struct frame_reader reader;
	bool was_heard; /* some peer said something */
	bool is_gone;	/* the port has no peer now */
	bool is_peer_lost; /* and channel_next() has not said so yet */
	struct frame frame; /* what channel_next() gave out last */
	size_t frame_bytes;
};

enum channel_news {
	CHANNEL_NOTHING, /* no whole frame */
	CHANNEL_FRAME,
	CHANNEL_PEER, /* what was known of the peer is over */
	CHANNEL_BAD   /* bytes that are no frame; what follows is dropped, up to the next FRAME_SYNC */
};

void channel_open(struct channel *channel, int fd); /* takes the descriptor */

/* Read what is there. 0; or a negative errno with `err` filled: the port is broken, or there is no memory. */
int channel_read(struct channel *channel, struct err *err);

/* What came next. *ret_frame is valid until the next channel_next() or channel_read(); `why` is filled for
 * CHANNEL_BAD. */
enum channel_news channel_next(struct channel *channel, const struct frame **ret_frame, char why[160]);

/* Forget what was queued, and begin anew for another peer. 0 or -ENOMEM. */
int channel_greet(struct channel *channel);

/* May more than a few numbers be queued? A port that is slower than the programs is not the place to keep their
 * output. */
bool channel_has_room(const struct channel *channel);

/* Queue a frame. -ENOBUFS when the queue is full, -ENOMEM. */
int channel_send(struct channel *channel, const struct frame *frame);

/* Write as much of the queue as the port takes. 0 or a negative errno: the port is broken. */
int channel_write(struct channel *channel);

/* The descriptor to wait for, and how long at most (-1: for ever). */
void channel_poll(const struct channel *channel, struct pollfd *fd, int *ret_ms);
