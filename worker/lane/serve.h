/* What all lanes share: the loop around a table of operations. */
#pragma once

#include "base/secret.h"
#include "worker/lane/lane.h"

struct lane_context {
	const struct lane_setup *setup;
	uint32_t tsc_khz; /* of the vmm lane */
};

/* Fills reply and fds (then reply->n_fds), or fails. */
typedef int (*lane_op_fn)(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
			  int fds[LANE_MAX_FDS], struct err *err);

/* `ops` has LANE_OP_COUNT entries; NULL: not this lane's. */
int lane_serve(int socket_fd, struct lane_context *context, const lane_op_fn *ops);

/* Operations that more than one lane has. */
int lane_op_destroy_key(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
			int fds[LANE_MAX_FDS], struct err *err);
int lane_op_erase(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		  int fds[LANE_MAX_FDS], struct err *err);
int lane_op_destroy_vm(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		       int fds[LANE_MAX_FDS], struct err *err);
