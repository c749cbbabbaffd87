#include "worker/lane/serve.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/disk.h"
#include "host/vm.h"

int lane_op_destroy_key(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
			int fds[LANE_MAX_FDS], struct err *err)
{
	bool is_gone = false;
	int r = disk_destroy_key(&context->setup->place, request->id, &is_gone, err);

	(void)fds;
	reply->verified = is_gone;
	return r;
}

int lane_op_erase(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		  int fds[LANE_MAX_FDS], struct err *err)
{
	(void)reply, (void)fds;
	return disk_erase(&context->setup->place, request->id, err);
}

int lane_op_destroy_vm(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		       int fds[LANE_MAX_FDS], struct err *err)
{
	(void)reply, (void)fds;
	return vm_destroy(&context->setup->place, request->id, err);
}

static int send_reply(int socket_fd, const struct lane_reply *reply, const int *fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(LANE_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)reply, .iov_len = sizeof(*reply) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (reply->n_fds) {
		struct cmsghdr *cmsg;

		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(reply->n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(reply->n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, reply->n_fds * sizeof(int));
	}
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void do_request(struct lane_context *context, const lane_op_fn *ops, const struct lane_request *request,
		       struct lane_reply *reply, int fds[LANE_MAX_FDS])
{
	uint64_t start_ns = clock_mono_ns();
	struct err err = { 0 };

	reply->magic = LANE_MAGIC;
	reply->op = request->op;
	reply->seq = request->seq;
	reply->rc = ops[request->op](context, request, reply, fds, &err);
	if (reply->rc < 0) {
		reply->err_kind = err.kind;
		memcpy(reply->msg, err.msg, sizeof(reply->msg));
	}
	log_debug("lane.done", "op=%s id=%s rc=%d us=%llu", lane_op_name((enum lane_op)request->op), request->id, reply->rc,
		  (unsigned long long)((clock_mono_ns() - start_ns) / 1000u));
}

/* One request: 1 to go on, 0 when the peer is gone, negative when it is not to be served any more. */
static int serve_one(int socket_fd, struct lane_context *context, const lane_op_fn *ops)
{
	int fds[LANE_MAX_FDS] = { -1, -1, -1, -1 };
	uint8_t data[sizeof(struct lane_request) + 1]; /* one more, to see a datagram that is too long */
	struct lane_request request;
	struct lane_reply reply = { 0 };
	struct err err;
	ssize_t n = recv(socket_fd, data, sizeof(data), 0);
	int r;

	if (n <= 0)
		return n < 0 && errno == EINTR ? 1 : 0;
	r = lane_request_check(data, (size_t)n, &request, &err);
	if (r == 0 && !ops[request.op])
		r = err_set(&err, ERR_BUG, EPERM, "'%s' is not this lane's", lane_op_name((enum lane_op)request.op));
	if (r < 0) {
		log_error("lane.refused", "message=\"%s\"", err.msg);
		return r;
	}
	do_request(context, ops, &request, &reply, fds);
	r = send_reply(socket_fd, &reply, fds);
	explicit_bzero(&reply, sizeof(reply));
	for (int i = 0; i < LANE_MAX_FDS; i++)
		close_fd(&fds[i]);
	return r < 0 ? 0 : 1;
}

int lane_serve(int socket_fd, struct lane_context *context, const lane_op_fn *ops)
{
	const struct rlimit no_core = { 0, 0 };
	int r;

	(void)setrlimit(RLIMIT_CORE, &no_core); /* lowering a limit cannot fail */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGCHLD, SIG_IGN); /* guards are nobody's to wait for */
	do
		r = serve_one(socket_fd, context, ops);
	while (r > 0);
	return r < 0 ? 1 : 0;
}
