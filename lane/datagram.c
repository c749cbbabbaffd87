#include "lane/datagram.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd_pass.h"
#include "base/own.h"

static void wipe(struct secret *buffer)
{
	explicit_bzero(secret_data(buffer), secret_len(buffer));
}

static int send_buffer(int fd, struct secret *buffer, size_t len, const int *fds, size_t n_fds, int flags, const char *what,
		       struct err *err)
{
	ssize_t n = fd_send(fd, secret_peek(buffer), len, fds, n_fds, flags);

	assert(secret_len(buffer) == LANE_DATAGRAM_MAX);
	wipe(buffer);
	return n < 0 ? err_set(err, ERR_BUSY, (int)-n, "send %s", what) : 0;
}

int lane_send_request(int fd, struct secret *buffer, const struct lane_request *request, uint64_t seq, struct err *err)
{
	size_t len = lane_request_encode(request, seq, secret_data(buffer));

	return send_buffer(fd, buffer, len, request->fds, request->n_fds, MSG_DONTWAIT, "a request to a lane", err);
}

int lane_send_reply(int fd, struct secret *buffer, const struct lane_reply *reply, const struct err *fault, uint64_t seq,
		    struct err *err)
{
	size_t len = lane_reply_encode(reply, fault, seq, secret_data(buffer));

	return send_buffer(fd, buffer, len, reply->fds, fault ? 0 : reply->n_fds, 0, "a lane's reply", err);
}

/* The length of what came, or a fault. */
static int receive(int fd, struct secret *buffer, int fds[LANE_MAX_FDS], size_t *ret_n_fds, int flags, struct err *err)
{
	ssize_t n = fd_receive(fd, secret_data(buffer), secret_len(buffer), fds, LANE_MAX_FDS, ret_n_fds, flags);

	if (n == -EMSGSIZE || n == -EBADMSG)
		return err_set(err, ERR_BUG, EBADMSG, "a lane datagram that is too long, or has too many descriptors");
	return n > 0 ? (int)n : err_set(err, ERR_BUSY, n < 0 ? (int)-n : EPIPE, "the other end of a lane is gone");
}

/* They are the receiver's when what they came with is good. */
static int keep_fds(int r, int *fds, size_t n_fds, int *ret_fds, size_t *ret_n_fds)
{
	for (size_t i = 0; i < n_fds && r < 0; i++)
		close_fd(&fds[i]);
	if (r < 0)
		return r;
	memcpy(ret_fds, fds, sizeof(*fds) * n_fds);
	*ret_n_fds = n_fds;
	return 0;
}

int lane_receive_request(int fd, struct secret *buffer, struct lane_request *ret, uint64_t *ret_seq, struct err *err)
{
	int fds[LANE_MAX_FDS];
	size_t n_fds = 0;
	int n = receive(fd, buffer, fds, &n_fds, 0, err);
	int r = n < 0 ? n : lane_request_decode(secret_peek(buffer), (size_t)n, n_fds, ret, ret_seq, err);

	wipe(buffer);
	return keep_fds(r, fds, n_fds, ret->fds, &ret->n_fds);
}

int lane_receive_reply(int fd, struct secret *buffer, struct lane_reply *ret, struct err *ret_fault, uint64_t *ret_seq,
		       struct err *err)
{
	int fds[LANE_MAX_FDS];
	size_t n_fds = 0;
	int n = receive(fd, buffer, fds, &n_fds, MSG_DONTWAIT, err);
	int r = n < 0 ? n : lane_reply_decode(secret_peek(buffer), (size_t)n, n_fds, ret, ret_fault, ret_seq, err);

	wipe(buffer);
	return keep_fds(r, fds, n_fds, ret->fds, &ret->n_fds);
}
