/* The unprivileged side of a lane's socket. */
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"
#include "worker/lane/lane.h"

int lane_send(int fd, const struct lane_request *request, struct err *err)
{
	ssize_t n = send(fd, request, sizeof(*request), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n != (ssize_t)sizeof(*request))
		return err_set(err, ERR_BUSY, n < 0 ? errno : EIO, "send '%s' to a lane",
			       lane_op_name((enum lane_op)request->op));
	return 0;
}

static size_t take_fds(struct msghdr *message, int fds[LANE_MAX_FDS])
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);
	size_t n;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(cmsg), n * sizeof(int));
	return n;
}

int lane_receive(int fd, struct lane_reply *ret, int fds[LANE_MAX_FDS], size_t *ret_n_fds, struct err *err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(LANE_MAX_FDS * sizeof(int))];
	} control;
	struct lane_reply reply;
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t n_fds;
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n <= 0)
		return err_set(err, ERR_BUSY, n < 0 ? errno : EPIPE, "the lane is gone");
	n_fds = take_fds(&message, fds);
	r = lane_reply_check(&reply, (size_t)n, n_fds, ret, err);
	explicit_bzero(&reply, sizeof(reply));
	for (size_t i = 0; r < 0 && i < n_fds; i++)
		close_fd(&fds[i]);
	*ret_n_fds = r < 0 ? 0 : n_fds;
	return r;
}
