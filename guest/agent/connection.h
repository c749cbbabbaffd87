/* The agent's end of the guest protocol's stream: whole frames over the virtio-serial port, without blocking.
 *
 * The host is not trusted to be well-behaved, only to own the machine: what it sends is bounded and checked. Peers
 * come and go:
 *
 *   before the first byte of a peer   "no peer" means "not yet": what was queued (hello) stays
 *   then                              the port says that the peer is gone, or a FRAME_SYNC says that there is another one; of the
 *                                     former nothing may be seen: a VM that was restored from a snapshot has had a peer all the time
 *
 * In both cases connection_next() answers CONNECTION_PEER, the half frame that came is dropped, and so is what was queued,
 * a half frame perhaps: the next peer gets a FRAME_SYNC first (connection_greet()). */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/frame.h"
#include "wire/frame_reader.h"

struct connection {
	int fd; /* the port, nonblocking */
	struct buf in, out;
	struct frame_reader reader;
	bool was_heard; /* some peer said something */
	bool is_gone;	/* the port has no peer now */
	bool is_peer_lost; /* and connection_next() has not said so yet */
	struct frame frame; /* what connection_next() gave out last */
	size_t frame_bytes;
};

enum connection_news {
	CONNECTION_NOTHING, /* no whole frame */
	CONNECTION_FRAME,
	CONNECTION_PEER, /* what was known of the peer is over */
	CONNECTION_BAD   /* bytes that are no frame; what follows is dropped, up to the next FRAME_SYNC */
};

void connection_open(struct connection *connection, int fd); /* takes the descriptor */

/* Read what is there. 0; or a negative errno with `err` filled: the port is broken, or there is no memory. */
int connection_read(struct connection *connection, struct err *err);

/* What came next. *ret_frame is valid until the next connection_next() or connection_read(); `why` is filled for
 * CONNECTION_BAD. */
enum connection_news connection_next(struct connection *connection, const struct frame **ret_frame, char why[160]);

/* Forget what was queued, and begin anew for another peer. 0 or -ENOMEM. */
int connection_greet(struct connection *connection);

/* May more than a few numbers be queued? A port that is slower than the programs is not the place to keep their
 * output. */
bool connection_has_room(const struct connection *connection);

/* Queue a frame. -ENOBUFS when the queue is full, -ENOMEM. */
int connection_send(struct connection *connection, const struct frame *frame);

/* Write as much of the queue as the port takes. 0 or a negative errno: the port is broken. */
int connection_write(struct connection *connection);

/* The descriptor to wait for, and how long at most (-1: for ever). */
void connection_poll(const struct connection *connection, struct pollfd *fd, int *ret_ms);
