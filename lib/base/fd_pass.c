#include "base/fd_pass.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

ssize_t fd_send(int socket_fd, const void *data, size_t len, const int *fds, size_t n_fds, int flags)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	assert(n_fds <= FD_PASS_MAX);
	if (n_fds) {
		struct cmsghdr *cmsg;

		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(socket_fd, &message, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static size_t take_fds(struct msghdr *message, int fds[FD_PASS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		assert(n + here <= FD_PASS_MAX); /* the space that the kernel was given */
		memcpy(fds + n, CMSG_DATA(cmsg), here * sizeof(int));
		n += here;
	}
	return n;
}

ssize_t fd_receive(int socket_fd, void *data, size_t size, int *fds, size_t max_fds, size_t *ret_n_fds, int flags)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)
	};
	int found[FD_PASS_MAX];
	size_t n_found;
	ssize_t n;

	do
		n = recvmsg(socket_fd, &message, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	n_found = take_fds(&message, found);
	if (n_found > max_fds || message.msg_flags & MSG_CTRUNC)
		n = -EBADMSG;
	else if (message.msg_flags & MSG_TRUNC)
		n = -EMSGSIZE;
	for (size_t i = 0; n < 0 && i < n_found; i++)
		close_fd(&found[i]);
	if (n < 0)
		return n;
	if (n_found)
		memcpy(fds, found, n_found * sizeof(int));
	*ret_n_fds = n_found;
	return n;
}
