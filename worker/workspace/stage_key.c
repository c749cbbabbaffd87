/* The key stage hands the volume to the VMM, and destroys its key as soon as the VMM, which has it too, is dead. */
#include "base/clock.h"
#include "base/log.h"
#include "worker/vmm/control.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/lanes.h"
#include "worker/workspace/stages.h"

#define DESTROY_TRIES 3 /* a lane that died is replaced in between */

void stage_key_start(struct workspace *workspace)
{
	struct err err;

	if (workspace->host->backend->control->attach_drive(workspace->vm.control, &workspace->disk.drive, &err) < 0)
		workspace_fault(workspace, "", &err);
}

/* The VMM has the disk open and has forgotten the key, too; or it could not open it. */
void stage_key_on_disk(void *ctx, const struct err *err)
{
	struct workspace *workspace = ctx;

	if (err) {
		workspace_fault(workspace, "", err);
		return;
	}
	drive_clear(&workspace->disk.drive);
	workspace->took.key_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_KEY);
	workspace_stage_is_ready(workspace, WORKSPACE_STAGE_KEY);
}

static void end_key(struct workspace *workspace, bool is_destroyed)
{
	workspace->is_key_destroyed = is_destroyed && !workspace->is_vm_left;
	workspace->took.erase_ms = clock_ms_since(workspace->end_mono_ns);
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_KEY);
}

static void on_destroyed(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct workspace *workspace = ctx;

	if (err && ++workspace->disk.n_tries < DESTROY_TRIES &&
	    lanes_ask(workspace, workspace->host->disk_lane, LANE_OP_DISK_DESTROY_KEY, on_destroyed) == 0)
		return;
	if (err)
		log_error("disk.key", "vm=%s id=%s message=\"%s; the reaper will destroy it\"", workspace->vm_id, workspace->plan->owner_id,
			  err->msg);
	end_key(workspace, !err && reply->of.destroy_key.is_key_destroyed);
}

/* Also called again by the answer to a format, or to a look, that was on its way when the end was decided. */
void stage_key_stop(struct workspace *workspace)
{
	if (workspace->disk.is_pending)
		return;
	drive_clear(&workspace->disk.drive);
	workspace->disk.n_tries = 0;
	if (!workspace->disk.may_exist ||
	    lanes_ask(workspace, workspace->host->disk_lane, LANE_OP_DISK_DESTROY_KEY, on_destroyed) < 0)
		workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_KEY);
}
