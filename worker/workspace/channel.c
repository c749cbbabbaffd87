#include "worker/workspace/channel.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/own.h"

#define READ_BYTES (64 * 1024) /* of one turn: one guest does not starve the others */

struct channel {
	int fd;
	struct event *readable, *writable;
	const struct channel_events *events;
	void *ctx;
	struct buf in, out;
	bool is_held; /* a frame was refused: read nothing more */
	bool is_broken;
};

static void channel_break(struct channel *channel, const struct err *err)
{
	if (channel->is_broken)
		return;
	channel->is_broken = true;
	event_del(channel->readable);
	event_del(channel->writable);
	channel->events->on_broken(channel->ctx, err);
}

/* The bytes that whole, accepted frames took; -EBADMSG when the stream is no stream of frames. */
static int64_t take_frames(struct channel *channel, struct err *err)
{
	size_t used = 0;

	while (!channel->is_held && !channel->is_broken) {
		int64_t extent = frame_extent(channel->in.data + used, channel->in.len - used);
		struct frame frame;
		char why[160];
		int r;

		if (extent < 0)
			return err_set(err, ERR_BUSY, EBADMSG, "the guest sent a frame of impossible length");
		if (extent == 0 || (size_t)extent > channel->in.len - used)
			break;
		r = frame_decode(channel->in.data + used, (size_t)extent, &frame, why);
		if (r < 0)
			return err_set(err, ERR_BUSY, -r, "the guest sent a bad frame: %s", why);
		channel->is_held = !channel->events->on_frame(channel->ctx, &frame);
		frame_clear(&frame);
		if (!channel->is_held)
			used += (size_t)extent;
	}
	return (int64_t)used;
}

static void take_input(struct channel *channel)
{
	struct err err;
	int64_t used;

	if (channel->in.len == 0)
		return;
	used = take_frames(channel, &err);
	if (used < 0) {
		channel_break(channel, &err);
		return;
	}
	buf_consume(&channel->in, (size_t)used);
	if (channel->is_held)
		event_del(channel->readable);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	struct err err;
	ssize_t n;

	(void)what;
	if (buf_reserve(&channel->in, READ_BYTES) < 0) {
		(void)err_set(&err, ERR_BUSY, E2BIG, "the guest sent more than one frame can hold");
		channel_break(channel, &err);
		return;
	}
	n = recv(fd, channel->in.data + channel->in.len, READ_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void)err_set(&err, ERR_BUSY, n < 0 ? errno : 0, "the guest's channel closed");
		channel_break(channel, &err);
		return;
	}
	channel->in.len += (size_t)n;
	take_input(channel);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	ssize_t n = send(fd, channel->out.data, channel->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	struct err err;

	(void)what;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		(void)err_set(&err, ERR_BUSY, errno, "write to the guest's channel");
		channel_break(channel, &err);
		return;
	}
	if (n > 0)
		buf_consume(&channel->out, (size_t)n);
	if (channel->out.len == 0)
		event_del(channel->writable);
}

int channel_open(struct event_base *base, int fd, const struct channel_events *events, void *ctx, struct channel **ret,
		 struct err *err)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel) {
		close_fd(&fd);
		return err_set(err, ERR_HOST, ENOMEM, "a guest channel");
	}
	channel->fd = fd;
	channel->events = events;
	channel->ctx = ctx;
	channel->in.max = FRAME_MAX_BYTES + 4 + READ_BYTES;
	channel->out.max = CHANNEL_MAX_QUEUED_BYTES;
	channel->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, channel);
	channel->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, channel);
	if (!channel->readable || !channel->writable || event_add(channel->readable, NULL) < 0) {
		channel_close(channel);
		return err_set(err, ERR_HOST, ENOMEM, "watch a guest channel");
	}
	*ret = channel;
	return 0;
}

int channel_send(struct channel *channel, const struct frame *frame, struct err *err)
{
	int r;

	if (channel->is_broken)
		return err_set(err, ERR_BUSY, EPIPE, "the guest's channel is closed");
	r = frame_encode(frame, &channel->out);
	if (r < 0)
		return err_set(err, ERR_BUSY, -r, "queue a '%s' frame for the guest", frame_type_name(frame->type));
	if (event_add(channel->writable, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch a guest channel");
	return 0;
}

void channel_resume(struct channel *channel)
{
	if (!channel->is_held || channel->is_broken)
		return;
	channel->is_held = false;
	(void)event_add(channel->readable, NULL); /* it was added before: cannot need memory */
	take_input(channel);
}

bool channel_is_held(const struct channel *channel)
{
	return channel->is_held;
}

void channel_close(struct channel *channel)
{
	if (!channel)
		return;
	if (channel->readable)
		event_free(channel->readable);
	if (channel->writable)
		event_free(channel->writable);
	close_fd(&channel->fd);
	buf_free(&channel->in);
	buf_free(&channel->out);
	free(channel);
}
