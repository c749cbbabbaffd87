#include "worker/workspace/lanes.h"

#include <string.h>

int lanes_ask(struct workspace *workspace, struct lane_client *lane, enum lane_op op, lane_client_fn fn)
{
	struct lane_request request = { .op = op, .deadline_boot_ms = lane_deadline_boot_ms() };

	memcpy(request.of.vm.vm_id, workspace->vm_id, sizeof(workspace->vm_id));
	return lane_client_call(lane, &request, fn, workspace);
}
