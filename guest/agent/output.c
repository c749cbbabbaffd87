#include "guest/agent/output.h"

#include <errno.h>
#include <unistd.h>

#include "base/own.h"

#define QUEUE_ENOUGH_BYTES (128 * 1024) /* in the channel's queue: the port is slower than the pipes */

static uint64_t left_of(const struct output *output)
{
	return output->limit_bytes - output->pipes[0].kept_bytes - output->pipes[1].kept_bytes;
}

uint64_t output_unacknowledged(const struct output *output)
{
	const struct output_pipe *pipes = output->pipes;

	return pipes[0].kept_bytes - pipes[0].acknowledged + pipes[1].kept_bytes - pipes[1].acknowledged;
}

bool output_is_wanted(const struct output *output, const struct channel *channel)
{
	if (left_of(output) == 0)
		return true; /* to drop it */
	return output_unacknowledged(output) < output->window && channel->out.len < QUEUE_ENOUGH_BYTES;
}

bool output_is_stalled(const struct output *output, const struct channel *channel)
{
	return output_unacknowledged(output) > 0 && !output_is_wanted(output, channel);
}

static int keep(struct output *output, unsigned which, const uint8_t *data, size_t len, struct channel *channel)
{
	struct output_pipe *pipe = &output->pipes[which];
	const struct frame frame = {
		.type = FRAME_OUT, .exec = output->exec, .stream = which + 1, .offset = pipe->kept_bytes, .data = data, .len = len
	};
	int r;

	if (len == 0)
		return 0;
	r = channel_send(channel, &frame);
	if (r < 0)
		return r;
	pipe->kept_bytes += len;
	return 0;
}

static size_t piece_size(const struct output *output)
{
	uint64_t room = output->window - output_unacknowledged(output);

	if (left_of(output) == 0 || room > FRAME_DATA_MAX)
		return FRAME_DATA_MAX;
	return (size_t)room;
}

int output_pump(struct output *output, unsigned which, struct channel *channel)
{
	struct output_pipe *pipe = &output->pipes[which];
	uint8_t piece[FRAME_DATA_MAX];
	uint64_t left = left_of(output);
	ssize_t n;
	int r;

	if (pipe->fd < 0 || !output_is_wanted(output, channel))
		return 0;
	n = read(pipe->fd, piece, piece_size(output));
	if (n < 0)
		return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;
	if (n == 0) {
		close_fd(&pipe->fd);
		return 0;
	}
	pipe->bytes += (uint64_t)n;
	r = keep(output, which, piece, (uint64_t)n < left ? (size_t)n : (size_t)left, channel);
	return r < 0 ? r : 1;
}

void output_acknowledge(struct output *output, const struct frame *frame)
{
	struct output_pipe *pipe = &output->pipes[frame->stream - 1];

	if (frame->offset > pipe->acknowledged)
		pipe->acknowledged = frame->offset < pipe->kept_bytes ? frame->offset : pipe->kept_bytes;
}

void output_close(struct output *output)
{
	close_fd(&output->pipes[0].fd);
	close_fd(&output->pipes[1].fd);
}
