/* Cuts a byte stream into frames (wire/frame.h), and finds their beginnings again after a peer has broken off. Pure:
 * it looks at bytes that its caller holds, and says how many of them are done with. The agent reads with it; a
 * worker's own end never breaks off, so it needs none until an engine attaches to a guest that another one left.
 *
 *   FRAMES  a frame begins here, or a FRAME_SYNC
 *   SYNC    in a FRAME_SYNC: every 0xff is dropped; the first other byte begins a frame
 *   LOST    nobody knows where frames begin: everything is dropped up to more than FRAME_DATA_MAX times 0xff; then as in SYNC
 *
 * FRAMES -> SYNC where a length begins with 0xff, or ends with it and cannot be one, or where a frame ends with it:
 * the peer broke off inside of what came before, and another one has begun. FRAMES -> LOST after bytes that are no
 * frame. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum frame_reader_state { FRAME_READER_FRAMES, FRAME_READER_SYNC, FRAME_READER_LOST };

struct frame_reader {
	enum frame_reader_state state; /* zero: a stream from its beginning */
	size_t n_sync;		       /* LOST: so many times 0xff came just now */
};

enum frame_read {
	FRAME_READ_MORE,  /* more bytes have to come */
	FRAME_READ_WHOLE, /* a frame: decode it */
	/* bytes of a FRAME_SYNC: what came before is from a peer that is gone. May be answered several times for one */
	FRAME_READ_SYNC,
	FRAME_READ_BAD	  /* bytes that can be no frame; from here on it is lost */
};

/* Look at the front of the stream. *ret_bytes is how many bytes of it this answer is about: drop them, of
 * FRAME_READ_WHOLE once they were decoded; and unless it was FRAME_READ_MORE, ask again. */
enum frame_read frame_reader_next(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_bytes);

/* A whole frame could not be decoded: what follows it is not to be believed. Also for who is new to a stream. */
void frame_reader_lose(struct frame_reader *reader);

/* Append a FRAME_SYNC for the peer's reader. 0, -ENOMEM or -E2BIG. */
int frame_append_sync(struct buf *out);
