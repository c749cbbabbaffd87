#include "guest/agent/channel.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define READ_BYTES	   (64 * 1024)
#define QUEUE_MAX_BYTES	   (1024 * 1024) /* a FRAME_SYNC, QUEUE_ENOUGH_BYTES, and what does not ask for room: small frames */
#define QUEUE_ENOUGH_BYTES (128 * 1024)
#define GONE_POLL_MS	   20 /* a port without a peer is always ready to say so: its return is asked for */
#define NOT_YET_POLL_MS	   2  /* the same at the start, which somebody waits for */

void channel_open(struct channel *channel, int fd)
{
	*channel = (struct channel){ .fd = fd };
	channel->in.max = FRAME_MAX_BYTES + 4 + READ_BYTES;
	channel->out.max = QUEUE_MAX_BYTES;
}

/* The bytes of a peer that left all came before the end of file. */
static void lose_peer(struct channel *channel)
{
	if (channel->was_heard && !channel->is_gone)
		channel->is_peer_lost = true;
	channel->is_gone = true;
}

int channel_read(struct channel *channel, struct err *err)
{
	ssize_t n;
	int r = buf_reserve(&channel->in, READ_BYTES);

	if (r < 0)
		return err_set(err, ERR_HOST, -r, "room for the channel's input");
	n = read(channel->fd, channel->in.data + channel->in.len, READ_BYTES);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && errno != EAGAIN)
		return err_set(err, ERR_HOST, errno, "read the channel");
	if (n == 0) {
		lose_peer(channel);
		return 0;
	}
	channel->is_gone = false;
	if (n > 0) {
		channel->was_heard = true;
		channel->in.len += (size_t)n;
	}
	return 0;
}

static void drop(struct channel *channel, size_t bytes)
{
	frame_clear(&channel->frame);
	buf_consume(&channel->in, bytes);
	channel->frame_bytes = 0;
}

static enum channel_news decode(struct channel *channel, size_t bytes, char why[160])
{
	int r = frame_decode(channel->in.data, bytes, &channel->frame, why);

	if (r == 0) {
		channel->frame_bytes = bytes;
		return CHANNEL_FRAME;
	}
	if (r != -EBADMSG)
		(void)snprintf(why, 160, "no memory for a frame");
	drop(channel, bytes);
	frame_reader_lose(&channel->reader);
	return CHANNEL_BAD;
}

static enum channel_news say_peer_is_over(struct channel *channel)
{
	buf_clear(&channel->out);
	return CHANNEL_PEER;
}

/* Everything that the peer sent was looked at: the half frame that is left, if any, ends here. */
static enum channel_news say_peer_is_lost(struct channel *channel)
{
	if (!channel->is_peer_lost)
		return CHANNEL_NOTHING;
	channel->is_peer_lost = false;
	channel->reader = (struct frame_reader){ .state = FRAME_READER_FRAMES };
	buf_clear(&channel->in);
	return say_peer_is_over(channel);
}

enum channel_news channel_next(struct channel *channel, const struct frame **ret_frame, char why[160])
{
	size_t bytes;

	drop(channel, channel->frame_bytes);
	*ret_frame = &channel->frame;
	switch (frame_reader_next(&channel->reader, channel->in.data, channel->in.len, &bytes)) {
	case FRAME_READ_WHOLE:
		return decode(channel, bytes, why);
	case FRAME_READ_SYNC:
		drop(channel, bytes);
		return say_peer_is_over(channel);
	case FRAME_READ_BAD:
		drop(channel, bytes);
		(void)snprintf(why, 160, "a frame has an impossible length");
		return CHANNEL_BAD;
	case FRAME_READ_MORE:
		break;
	}
	drop(channel, bytes);
	return say_peer_is_lost(channel);
}

int channel_greet(struct channel *channel)
{
	buf_clear(&channel->out);
	return frame_append_sync(&channel->out);
}

bool channel_has_room(const struct channel *channel)
{
	return channel->out.len < QUEUE_ENOUGH_BYTES;
}

int channel_send(struct channel *channel, const struct frame *frame)
{
	int r = frame_encode(frame, &channel->out);

	return r == -E2BIG ? -ENOBUFS : r;
}

int channel_write(struct channel *channel)
{
	bool is_for_nobody = channel->is_gone && channel->was_heard;

	while (channel->out.len && !is_for_nobody) {
		ssize_t n = write(channel->fd, channel->out.data, channel->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&channel->out, (size_t)n);
	}
	return 0;
}

void channel_poll(const struct channel *channel, struct pollfd *fd, int *ret_ms)
{
	*fd = (struct pollfd){ .fd = channel->is_gone ? -1 : channel->fd, .events = POLLIN };
	if (channel->out.len)
		fd->events |= POLLOUT;
	*ret_ms = !channel->is_gone ? -1 : channel->was_heard ? GONE_POLL_MS : NOT_YET_POLL_MS;
}
