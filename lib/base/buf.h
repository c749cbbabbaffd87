/* A growing byte buffer with a ceiling. Growth beyond the ceiling is refused, never truncated. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t max; /* bytes; 0 means no ceiling */
};

/* Both answer 0, or -E2BIG beyond max, or -ENOMEM; the buffer is unchanged on failure. */
int buf_append(struct buf *buf, const void *data, size_t len);
int buf_reserve(struct buf *buf, size_t extra);

/* Drop `len` bytes (at most buf->len) from the front. */
void buf_consume(struct buf *buf, size_t len);

void buf_clear(struct buf *buf); /* keeps the memory */
void buf_free(struct buf *buf);  /* leaves an empty buffer with the same ceiling */
