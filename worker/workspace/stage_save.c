/* The save stage: what runs in a template's microVM is written down, and ends with it. Its memory is a file that the lane made, and its
 * devices' state goes to another one; worker/templates.c seals both when the VM is dead.
 *
 * What others begin with must not be anybody's: a workspace that was set up, or has a disk or a program, is not saved. */
#include "base/own.h"
#include "worker/vmm/control.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/stages.h"

static bool is_somebodys(const struct workspace *workspace)
{
	return workspace->guest.is_set_up || workspace->disk.may_exist || workspace->n_programs > 0;
}

void stage_save_start(struct workspace *workspace)
{
	struct err err;

	stage_guest_give_time_to_save(workspace);
	if (is_somebodys(workspace)) {
		(void)err_set(&err, ERR_BUG, EPERM, "a microVM that was set up cannot become a template");
		workspace_fault(workspace, "", &err);
	} else if (workspace->host->backend->control->save(workspace->vm.control, workspace->saved.state_fd, &err) < 0) {
		workspace_fault(workspace, "", &err);
	}
}

void stage_save_on_saved(void *ctx, const struct err *err)
{
	struct workspace *workspace = ctx;

	if (err)
		workspace_fault(workspace, "", err);
	else
		workspace_stage_is_ready(workspace, WORKSPACE_STAGE_SAVE);
}

void stage_save_stop(struct workspace *workspace)
{
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_SAVE);
}
