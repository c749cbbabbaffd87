/* A lane's loop: one request, one reply. What a request brought, and what a reply did not get rid of, ends with it. */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/own.h"
#include "lane/datagram.h"
#include "lane/ops.h"

/* Which lane does what; NULL: it does not, and who asks is ended. */
static const struct {
	const char *name;
	lane_op_fn ops[LANE_OP_COUNT];
} lanes[] = {
	[LANE_DISK] = { "disk-lane",
			{ [LANE_OP_DISK_FORMAT] = lane_op_disk_format,
			  [LANE_OP_DISK_DESTROY_KEY] = lane_op_disk_destroy_key,
			  [LANE_OP_DISK_ERASE] = lane_op_disk_erase,
			  [LANE_OP_DISK_LOOK] = lane_op_disk_look } },
	[LANE_VMM] = { "vmm-lane",
		       { [LANE_OP_VM_START] = lane_op_vm_start,
			 [LANE_OP_VM_DESTROY] = lane_op_vm_destroy,
			 [LANE_OP_VM_PROBE] = lane_op_vm_probe } },
	[LANE_REAP] = { "reap-lane",
			{ [LANE_OP_VM_DESTROY] = lane_op_vm_destroy,
			  [LANE_OP_DISK_DESTROY_KEY] = lane_op_disk_destroy_key,
			  [LANE_OP_DISK_ERASE] = lane_op_disk_erase,
			  [LANE_OP_SWEEP] = lane_op_sweep } },
};
_Static_assert(ARRAY_SIZE(lanes) == LANE_KIND_COUNT, "every lane has its row");

const char *lane_name(enum lane_kind kind)
{
	return lanes[kind].name;
}

/* Requests wait behind those that take long, and their deadlines do not move. */
static int do_request(struct lane_context *context, lane_op_fn op, struct lane_request *request, struct lane_reply *reply,
		      struct err *err)
{
	uint64_t start_ns = clock_mono_ns();
	int r;

	if (clock_boot_ms() >= request->deadline_boot_ms)
		r = err_set(err, ERR_BUSY, ETIME, "the deadline of '%s' passed before the lane came to it",
			    lane_op_name(request->op));
	else
		r = op(context, request, reply, err);
	log_debug("lane.done", "op=%s vm=%s rc=%d us=%llu", lane_op_name(request->op), lane_request_vm_id(request), r,
		  (unsigned long long)((clock_mono_ns() - start_ns) / 1000u));
	return r;
}

/* 0, or a fault: the peer is gone, or is not to be served any more. */
static int serve_one(enum lane_kind kind, int socket_fd, struct secret *buffer, struct lane_context *context, struct err *err)
{
	cleanup_(lane_request_clear) struct lane_request request = { 0 };
	cleanup_(lane_reply_clear) struct lane_reply reply = { 0 };
	struct err fault = { 0 };
	uint64_t seq;
	int r = lane_receive_request(socket_fd, buffer, &request, &seq, err);

	if (r < 0)
		return r;
	if (!lanes[kind].ops[request.op])
		return err_set(err, ERR_BUG, EPERM, "'%s' is not this lane's", lane_op_name(request.op));
	reply.op = request.op;
	r = do_request(context, lanes[kind].ops[request.op], &request, &reply, &fault);
	return lane_send_reply(socket_fd, buffer, &reply, r < 0 ? &fault : NULL, seq, err);
}

int lane_main(enum lane_kind kind, int socket_fd, const struct lane_setup *setup)
{
	const struct rlimit no_core = { 0, 0 };
	struct lane_context context = { .setup = setup, .tsc_khz = kind == LANE_VMM ? launcher_tsc_khz() : 0 };
	cleanup_(secret_freep) struct secret *buffer = NULL;
	struct err err;

	(void)setrlimit(RLIMIT_CORE, &no_core); /* lowering a limit cannot fail */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGCHLD, SIG_IGN); /* guards are nobody's to wait for */
	if (secret_new(LANE_DATAGRAM_MAX, &buffer, &err) < 0) {
		log_error("lane.start", "message=\"%s\"", err.msg);
		return 1;
	}
	while (serve_one(kind, socket_fd, buffer, &context, &err) == 0)
		;
	if (err.kind == ERR_BUSY)
		return 0;
	log_error("lane.refused", "message=\"%s\"", err.msg);
	return 1;
}
