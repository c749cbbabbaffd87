#include "guest/agent/output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/own.h"

#define PIECES_PER_TURN 8 /* of each stream: one chatty program does not keep the agent from the others */

static uint64_t left_of(const struct output *output)
{
	return output->limit_bytes - output->streams[0].kept - output->streams[1].kept;
}

static uint64_t unacknowledged(const struct output *output)
{
	const struct output_stream *streams = output->streams;

	return streams[0].kept - streams[0].acknowledged + streams[1].kept - streams[1].acknowledged;
}

int output_open(struct output *output, const struct frame *run, int stdout_fd, int stderr_fd)
{
	*output = (struct output){ .exec = run->exec,
				   .streams = { { .fd = stdout_fd, .last = UINT64_MAX }, { .fd = stderr_fd,
						.last = UINT64_MAX } },
				   .limit_bytes = run->output_limit_bytes,
				   .window = run->window };
	for (int i = 0; i < 2; i++)
		output->streams[i].ring = malloc(run->window); /* pages that are never written cost nothing */
	if (output->streams[0].ring && output->streams[1].ring)
		return 0;
	output_close(output);
	return -ENOMEM;
}

bool output_is_wanted(const struct output *output)
{
	return left_of(output) == 0 || unacknowledged(output) < output->window; /* the former to drop it */
}

bool output_is_stalled(const struct output *output)
{
	return !output_is_wanted(output);
}

static size_t least(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

/* Where the next bytes are read to, and how many at most: into the ring up to its end, or only to be dropped. */
static uint8_t *room_of(const struct output *output, const struct output_stream *stream, uint8_t *dropped,
			size_t *ret_len)
{
	uint64_t at = stream->kept % output->window, left = left_of(output);

	if (left == 0) {
		*ret_len = FRAME_DATA_MAX;
		return dropped;
	}
	*ret_len = least(least(output->window - at, output->window - unacknowledged(output)), left);
	return stream->ring + at;
}

/* One piece; false when there is nothing more now. */
static bool read_piece(struct output *output, struct output_stream *stream)
{
	uint8_t dropped[FRAME_DATA_MAX], *at;
	bool is_kept = left_of(output) > 0;
	size_t len;
	ssize_t n;

	if (stream->fd < 0 || !output_is_wanted(output))
		return false;
	at = room_of(output, stream, dropped, &len);
	len = least(len, stream->last - stream->bytes);
	n = len ? read(stream->fd, at, len) : 0;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return errno == EINTR;
	if (n <= 0) {
		close_fd(&stream->fd);
		return false;
	}
	stream->bytes += (uint64_t)n;
	stream->kept += is_kept ? (uint64_t)n : 0;
	return true;
}

void output_read(struct output *output)
{
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < PIECES_PER_TURN && read_piece(output, &output->streams[i]); n++)
			;
}

static int send_piece(struct output *output, unsigned which, struct connection *connection)
{
	struct output_stream *stream = &output->streams[which];
	uint64_t at = stream->sent % output->window, len = least(stream->kept - stream->sent, output->window - at);
	const struct frame frame = { .type = FRAME_OUT, .exec = output->exec, .stream = which + 1,
				     .offset = stream->sent,
				     .data = stream->ring + at, .len = least(len, FRAME_DATA_MAX) };
	int r = connection_send(connection, &frame);

	if (r == 0)
		stream->sent += frame.len;
	return r;
}

int output_send(struct output *output, struct connection *connection)
{
	int r = 0;

	for (unsigned which = 0; which < 2; which++) {
		const struct output_stream *stream = &output->streams[which];

		for (int n = 0; r == 0 && n < PIECES_PER_TURN && stream->sent < stream->kept &&
		     connection_has_room(connection); n++)
			r = send_piece(output, which, connection);
	}
	return r;
}

void output_finish(struct output *output)
{
	for (int i = 0; i < 2; i++) {
		struct output_stream *stream = &output->streams[i];
		int n = 0;

		if (stream->fd >= 0 && stream->last == UINT64_MAX && ioctl(stream->fd, FIONREAD, &n) == 0)
			stream->last = stream->bytes + (uint64_t)n;
	}
}

bool output_is_read(const struct output *output)
{
	return output->streams[0].fd < 0 && output->streams[1].fd < 0;
}

bool output_is_sent(const struct output *output)
{
	return output->streams[0].sent == output->streams[0].kept && output->streams[1].sent == output->streams[1].kept;
}

bool output_is_acknowledged(const struct output *output)
{
	return unacknowledged(output) == 0;
}

void output_acknowledge(struct output *output, const struct frame *frame)
{
	struct output_stream *stream = &output->streams[frame->stream - 1];

	if (frame->offset > stream->acknowledged)
		stream->acknowledged = least(frame->offset, stream->sent);
}

static bool can_resume(const struct output_stream *stream, uint64_t offset)
{
	return stream->acknowledged <= offset && offset <= stream->sent;
}

bool output_resume(struct output *output, const struct frame *frame)
{
	struct output_stream *streams = output->streams;

	if (!can_resume(&streams[0], frame->stdout_bytes) || !can_resume(&streams[1], frame->stderr_bytes))
		return false;
	streams[0].acknowledged = streams[0].sent = frame->stdout_bytes;
	streams[1].acknowledged = streams[1].sent = frame->stderr_bytes;
	return true;
}

void output_close(struct output *output)
{
	for (int i = 0; i < 2; i++) {
		struct output_stream *stream = &output->streams[i];

		close_fd(&stream->fd);
		free(TAKE_PTR(stream->ring));
		stream->acknowledged = stream->sent = stream->kept;
	}
}
