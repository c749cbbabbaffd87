/* The reaper's lane: the destroyers, and the list of what is left on this host. */
#include <string.h>

#include "base/own.h"
#include "host/vm.h"
#include "worker/lane/serve.h"

struct at {
	uint64_t cursor; /* how many to pass over */
	struct lane_reply *reply;
};

static int visit(void *ctx, const char *id)
{
	struct at *at = ctx;

	if (at->cursor > 0) {
		at->cursor--;
		return 0;
	}
	memcpy(at->reply->id, id, strlen(id) + 1); /* an ident */
	return 1;
}

/* One name per request. Names that come or go between two requests shift the list: what is missed now is found by the next
 * sweep, what is named twice is harmless. */
static int op_sweep(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		    int fds[LANE_MAX_FDS], struct err *err)
{
	struct at at = { .cursor = request->cursor, .reply = reply };
	int r = host_each_workspace(&context->setup->place, visit, &at, err);

	(void)fds;
	reply->cursor = request->cursor + 1;
	return r < 0 ? r : 0;
}

static const lane_op_fn ops[LANE_OP_COUNT] = {
	[LANE_OP_DISK_DESTROY_KEY] = lane_op_destroy_key,
	[LANE_OP_DISK_ERASE] = lane_op_erase,
	[LANE_OP_VM_DESTROY] = lane_op_destroy_vm,
	[LANE_OP_SWEEP] = op_sweep,
};

int lane_reap_main(int socket_fd, const struct lane_setup *setup)
{
	struct lane_context context = { .setup = setup };

	return lane_serve(socket_fd, &context, ops);
}
