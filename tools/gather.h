/* Puts chunks of output together again: each byte position of a stream is handed out once.
 *
 * Within one attempt the chunks of a stream follow each other without a gap. A task that runs again starts over at byte
 * 0, and positions that were handed out before are skipped. So a program that prints the same again is seen once. Of
 * one that prints something else the new output begins where the old one ended. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/result.h"

struct gather_stream {
	uint64_t next; /* position of the first byte that was not handed out */
	uint64_t lost; /* bytes that never came */
};

struct gather {
	uint32_t attempt; /* the highest seen, 0 before the first chunk */
	struct gather_stream out, err_out;
};

struct gather_piece {
	const uint8_t *data; /* into the chunk */
	size_t len;	     /* 0: nothing new in it */
	uint64_t gap;	     /* bytes before it that never came */
	bool is_repeat;	     /* the first chunk of a later attempt than the last one's */
};

struct gather_stream *gather_stream_of(struct gather *gather, enum output_stream stream);

struct gather_piece gather_take(struct gather *gather, const struct output_chunk *chunk);

/* For output whose chunks did not come: the part of the result's head and tail that continues the stream without a gap. */
struct gather_piece gather_fill(struct gather_stream *stream, const struct result_stream *whole);
