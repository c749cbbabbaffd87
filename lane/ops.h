/* The operations of lanes, one function each. They block as long as it takes, as root. */
#pragma once

#include "lane/lane.h"
#include "lane/protocol.h"

struct lane_context {
	const struct lane_setup *setup;
	uint32_t tsc_khz; /* of the vmm lane */
};

/* Fills the reply, or fails. What it leaves of the request's secret and descriptors is wiped and closed afterwards. */
typedef int (*lane_op_fn)(struct lane_context *context, struct lane_request *request, struct lane_reply *reply,
			  struct err *err);

int lane_op_disk_format(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_disk_destroy_key(struct lane_context *context, struct lane_request *request, struct lane_reply *reply,
			     struct err *err);
int lane_op_disk_erase(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_disk_look(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_vm_start(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_vm_destroy(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_vm_probe(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
int lane_op_sweep(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err);
