#include "worker/workspace/adopt.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/workspace/stages.h"

int workspace_adopt(struct workspace *workspace, const struct workspace_plan *plan, const struct workspace_events *events, void *ctx,
		    struct err *err)
{
	int r;

	assert(workspace->state == WORKSPACE_READY && workspace->plan->has_no_lease && !plan->has_no_lease);
	assert(workspace->plan->start == plan->start && workspace->n_programs == 0);
	r = stage_vmm_adopt(workspace, plan, err);
	if (r < 0)
		return r;
	workspace_send(workspace, &(struct frame){ .type = FRAME_CLOCK, .realtime_ns = clock_wall_ns() });
	if (workspace->state != WORKSPACE_READY)
		return err_set(err, ERR_BUSY, 0, "its guest could not be told the time");
	held_vms_remove(&workspace->held);
	workspace->plan = plan;
	workspace->events = events;
	workspace->ctx = ctx;
	workspace->ttl_ends_mono_ms = clock_mono_ms() + plan->ttl_ms;
	workspace->took = (struct workspace_took){ -1, -1, -1, -1, -1, -1 };
	workspace->is_ready_due = true;
	log_debug("workspace.adopt", "vm=%s id=%s", workspace->vm_id, plan->owner_id);
	turn_ask(&workspace->turn);
	return 0;
}
