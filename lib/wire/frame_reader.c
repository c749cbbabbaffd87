#include "wire/frame_reader.h"

#include <string.h>

#include "wire/frame.h"

#define PREFIX_BYTES 4

static enum frame_read skip_lost(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_bytes)
{
	for (size_t i = 0; i < len; i++) {
		reader->n_sync = data[i] == FRAME_SYNC ? reader->n_sync + 1 : 0;
		if (reader->n_sync <= FRAME_DATA_MAX)
			continue;
		reader->state = FRAME_READER_SYNC;
		*ret_bytes = i + 1;
		return FRAME_READ_SYNC;
	}
	*ret_bytes = len;
	return FRAME_READ_MORE;
}

static enum frame_read skip_sync(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_bytes)
{
	size_t n = 0;

	while (n < len && data[n] == FRAME_SYNC)
		n++;
	reader->state = n < len ? FRAME_READER_FRAMES : FRAME_READER_SYNC;
	*ret_bytes = n;
	return FRAME_READ_SYNC;
}

/* `len` bytes are the end of what a peer left behind, completed by those of a FRAME_SYNC. */
static enum frame_read begin_sync(struct frame_reader *reader, size_t len, size_t *ret_bytes)
{
	reader->state = FRAME_READER_SYNC;
	*ret_bytes = len;
	return FRAME_READ_SYNC;
}

static enum frame_read next_frame(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_bytes)
{
	int64_t extent;

	if (len && data[0] == FRAME_SYNC)
		return begin_sync(reader, 1, ret_bytes);
	extent = frame_extent(data, len);
	if (extent < 0 && data[PREFIX_BYTES - 1] == FRAME_SYNC)
		return begin_sync(reader, PREFIX_BYTES, ret_bytes);
	*ret_bytes = extent < 0 ? PREFIX_BYTES : 0;
	if (extent < 0) {
		frame_reader_lose(reader);
		return FRAME_READ_BAD;
	}
	if (extent == 0 || (size_t)extent > len)
		return FRAME_READ_MORE;
	if (data[extent - 1] == FRAME_SYNC)
		return begin_sync(reader, (size_t)extent, ret_bytes);
	*ret_bytes = (size_t)extent;
	return FRAME_READ_WHOLE;
}

enum frame_read frame_reader_next(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *ret_bytes)
{
	*ret_bytes = 0;
	switch (reader->state) {
	case FRAME_READER_LOST:
		return skip_lost(reader, data, len, ret_bytes);
	case FRAME_READER_SYNC:
		if (len == 0)
			return FRAME_READ_MORE;
		if (data[0] == FRAME_SYNC)
			return skip_sync(reader, data, len, ret_bytes);
		reader->state = FRAME_READER_FRAMES;
		break;
	case FRAME_READER_FRAMES:
		break;
	}
	return next_frame(reader, data, len, ret_bytes);
}

void frame_reader_lose(struct frame_reader *reader)
{
	*reader = (struct frame_reader){ .state = FRAME_READER_LOST };
}

int frame_append_sync(struct buf *out)
{
	int r = buf_reserve(out, FRAME_SYNC_BYTES);

	if (r < 0)
		return r;
	memset(out->data + out->len, FRAME_SYNC, FRAME_SYNC_BYTES);
	out->len += FRAME_SYNC_BYTES;
	return 0;
}
