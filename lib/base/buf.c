#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int buf_reserve(struct buf *buf, size_t extra)
{
	size_t need, cap;
	uint8_t *grown;

	if (extra > SIZE_MAX - buf->len)
		return -E2BIG;
	need = buf->len + extra;
	if (buf->max && need > buf->max)
		return -E2BIG;
	if (need <= buf->cap)
		return 0;
	cap = buf->cap ? buf->cap : 256;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (buf->max && cap > buf->max)
		cap = buf->max;
	grown = realloc(buf->data, cap);
	if (!grown)
		return -ENOMEM;
	buf->data = grown;
	buf->cap = cap;
	return 0;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
	int r = buf_reserve(buf, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return 0;
}

void buf_consume(struct buf *buf, size_t len)
{
	assert(len <= buf->len);
	buf->len -= len;
	if (len && buf->len)
		memmove(buf->data, buf->data + len, buf->len);
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
}

void buf_free(struct buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
}
