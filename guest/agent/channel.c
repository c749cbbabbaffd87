#include "guest/agent/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES	(64 * 1024)
#define QUEUE_MAX_BYTES (1024 * 1024) /* several times the output window */

void channel_open(struct channel *channel, int fd)
{
	*channel = (struct channel){ .fd = fd };
	channel->in.max = FRAME_MAX_BYTES + 4 + READ_BYTES;
	channel->out.max = QUEUE_MAX_BYTES;
}

/* A port without a peer reads as end of file at once; do not spin until it has one. */
static int on_no_peer(struct channel *channel, struct err *err)
{
	static const struct timespec pause = { .tv_nsec = 2000000 };

	if (channel->was_connected)
		return err_set(err, ERR_HOST, EPIPE, "the host closed the channel");
	(void)nanosleep(&pause, NULL);
	return 0;
}

int channel_read(struct channel *channel, struct err *err)
{
	ssize_t n;
	int r = buf_reserve(&channel->in, READ_BYTES);

	if (r < 0)
		return err_set(err, ERR_HOST, -r, "room for the channel's input");
	n = read(channel->fd, channel->in.data + channel->in.len, READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return err_set(err, ERR_HOST, errno, "read the channel");
	if (n == 0)
		return on_no_peer(channel, err);
	channel->was_connected = true;
	channel->in.len += (size_t)n;
	return 0;
}

static const struct frame *drop_input(struct channel *channel, int *ret_r)
{
	buf_clear(&channel->in);
	*ret_r = -EBADMSG;
	return NULL;
}

const struct frame *channel_next(struct channel *channel, int *ret_r, char why[160])
{
	int64_t extent;

	frame_clear(&channel->frame);
	buf_consume(&channel->in, channel->frame_bytes);
	channel->frame_bytes = 0;
	*ret_r = 0;
	extent = frame_extent(channel->in.data, channel->in.len);
	if (extent < 0) {
		(void)snprintf(why, 160, "a frame has an impossible length");
		return drop_input(channel, ret_r);
	}
	if (extent == 0 || (size_t)extent > channel->in.len)
		return NULL;
	*ret_r = frame_decode(channel->in.data, (size_t)extent, &channel->frame, why);
	if (*ret_r == -EBADMSG)
		return drop_input(channel, ret_r);
	if (*ret_r < 0)
		return NULL;
	channel->frame_bytes = (size_t)extent;
	return &channel->frame;
}

int channel_send(struct channel *channel, const struct frame *frame)
{
	int r = frame_encode(frame, &channel->out);

	return r == -E2BIG ? -ENOBUFS : r;
}

int channel_write(struct channel *channel)
{
	while (channel->out.len) {
		ssize_t n = write(channel->fd, channel->out.data, channel->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&channel->out, (size_t)n);
	}
	return 0;
}

int channel_flush(struct channel *channel)
{
	int r = channel_write(channel);

	while (r == 0 && channel->out.len) {
		struct pollfd pollfd = { .fd = channel->fd, .events = POLLOUT };

		(void)poll(&pollfd, 1, 100); /* whatever it says, the write tells */
		r = channel_write(channel);
	}
	return r;
}
