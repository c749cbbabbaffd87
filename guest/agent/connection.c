#include "guest/agent/connection.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define READ_BYTES	   (64 * 1024)
#define QUEUE_MAX_BYTES	   (1024 * 1024) /* a FRAME_SYNC, QUEUE_ENOUGH_BYTES, and what does not ask for room: small frames */
#define QUEUE_ENOUGH_BYTES (128 * 1024)
#define GONE_POLL_MS	   20 /* a port without a peer is always ready to say so: its return is asked for */
#define NOT_YET_POLL_MS	   2  /* the same at the start, which somebody waits for */

void connection_open(struct connection *connection, int fd)
{
	*connection = (struct connection){ .fd = fd };
	connection->in.max = FRAME_MAX_BYTES + 4 + READ_BYTES;
	connection->out.max = QUEUE_MAX_BYTES;
}

/* The bytes of a peer that left all came before the end of file. */
static void lose_peer(struct connection *connection)
{
	if (connection->was_heard && !connection->is_gone)
		connection->is_peer_lost = true;
	connection->is_gone = true;
}

int connection_read(struct connection *connection, struct err *err)
{
	ssize_t n;
	int r = buf_reserve(&connection->in, READ_BYTES);

	if (r < 0)
		return err_set(err, ERR_HOST, -r, "room for the connection's input");
	n = read(connection->fd, connection->in.data + connection->in.len, READ_BYTES);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && errno != EAGAIN)
		return err_set(err, ERR_HOST, errno, "read the connection");
	if (n == 0) {
		lose_peer(connection);
		return 0;
	}
	connection->is_gone = false;
	if (n > 0) {
		connection->was_heard = true;
		connection->in.len += (size_t)n;
	}
	return 0;
}

static void drop(struct connection *connection, size_t bytes)
{
	frame_clear(&connection->frame);
	buf_consume(&connection->in, bytes);
	connection->frame_bytes = 0;
}

static enum connection_news decode(struct connection *connection, size_t bytes, char why[160])
{
	int r = frame_decode(connection->in.data, bytes, &connection->frame, why);

	if (r == 0) {
		connection->frame_bytes = bytes;
		return CONNECTION_FRAME;
	}
	if (r != -EBADMSG)
		(void)snprintf(why, 160, "no memory for a frame");
	drop(connection, bytes);
	frame_reader_lose(&connection->reader);
	return CONNECTION_BAD;
}

static enum connection_news say_peer_is_over(struct connection *connection)
{
	buf_clear(&connection->out);
	return CONNECTION_PEER;
}

/* Everything that the peer sent was looked at: the half frame that is left, if any, ends here. */
static enum connection_news say_peer_is_lost(struct connection *connection)
{
	if (!connection->is_peer_lost)
		return CONNECTION_NOTHING;
	connection->is_peer_lost = false;
	connection->reader = (struct frame_reader){ .state = FRAME_READER_FRAMES };
	buf_clear(&connection->in);
	return say_peer_is_over(connection);
}

enum connection_news connection_next(struct connection *connection, const struct frame **ret_frame, char why[160])
{
	size_t bytes;

	drop(connection, connection->frame_bytes);
	*ret_frame = &connection->frame;
	switch (frame_reader_next(&connection->reader, connection->in.data, connection->in.len, &bytes)) {
	case FRAME_READ_WHOLE:
		return decode(connection, bytes, why);
	case FRAME_READ_SYNC:
		drop(connection, bytes);
		return say_peer_is_over(connection);
	case FRAME_READ_BAD:
		drop(connection, bytes);
		(void)snprintf(why, 160, "a frame has an impossible length");
		return CONNECTION_BAD;
	case FRAME_READ_MORE:
		break;
	}
	drop(connection, bytes);
	return say_peer_is_lost(connection);
}

int connection_greet(struct connection *connection)
{
	buf_clear(&connection->out);
	return frame_append_sync(&connection->out);
}

bool connection_has_room(const struct connection *connection)
{
	return connection->out.len < QUEUE_ENOUGH_BYTES;
}

int connection_send(struct connection *connection, const struct frame *frame)
{
	int r = frame_encode(frame, &connection->out);

	return r == -E2BIG ? -ENOBUFS : r;
}

int connection_write(struct connection *connection)
{
	bool is_for_nobody = connection->is_gone && connection->was_heard;

	while (connection->out.len && !is_for_nobody) {
		ssize_t n = write(connection->fd, connection->out.data, connection->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&connection->out, (size_t)n);
	}
	return 0;
}

void connection_poll(const struct connection *connection, struct pollfd *fd, int *ret_ms)
{
	*fd = (struct pollfd){ .fd = connection->is_gone ? -1 : connection->fd, .events = POLLIN };
	if (connection->out.len)
		fd->events |= POLLOUT;
	*ret_ms = !connection->is_gone ? -1 : connection->was_heard ? GONE_POLL_MS : NOT_YET_POLL_MS;
}
