/* The disk stage makes the encrypted volume, and last of all removes its files. */
#include <string.h>

#include "base/log.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/lanes.h"
#include "worker/workspace/stages.h"

#define ERASE_TRIES 3 /* a lane that died is replaced in between */

/* The key stage may wait for the answer that came. */
static void end_pending(struct workspace *workspace)
{
	workspace->disk.is_pending = false;
	if (workspace->stages[WORKSPACE_STAGE_KEY] == STAGE_STOPPING)
		stage_key_stop(workspace);
}

static void on_formatted(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct workspace *workspace = ctx;

	workspace->took.disk_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_DISK);
	if (err && err->errnum == ETIME)
		workspace->disk.may_exist = false; /* the lane never came to it */
	if (err) {
		workspace_fault(workspace, "disk_mib", err);
	} else {
		lane_reply_take_drive(reply, &workspace->disk.drive);
		workspace_stage_is_ready(workspace, WORKSPACE_STAGE_DISK);
	}
	end_pending(workspace);
}

void stage_disk_start(struct workspace *workspace)
{
	struct lane_request request = { .op = LANE_OP_DISK_FORMAT,
					.deadline_boot_ms = lane_deadline_boot_ms(),
					.of.disk_format = { .form = workspace->host->backend->disk_form,
							    .disk_mib = workspace->plan->disk_mib } };
	struct err err;

	memcpy(request.of.disk_format.vm_id, workspace->vm_id, sizeof(workspace->vm_id));
	workspace->disk.may_exist = workspace->disk.is_pending = true;
	if (lane_client_call(workspace->host->disk_lane, &request, on_formatted, workspace) == 0)
		return;
	workspace->disk.may_exist = workspace->disk.is_pending = false;
	(void)err_set(&err, ERR_HOST, ENOMEM, "ask for a disk");
	workspace_fault(workspace, "", &err);
}

static void forget_disk(struct workspace *workspace)
{
	workspace->disk.may_exist = false;
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_DISK);
}

static void leave_disk(struct workspace *workspace, const char *why)
{
	log_error("disk.left", "vm=%s id=%s message=\"%s; the reaper will find it\"", workspace->vm_id, workspace->plan->owner_id, why);
	forget_disk(workspace);
}

static void on_erased(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct workspace *workspace = ctx;

	(void)reply;
	if (err && ++workspace->disk.n_tries < ERASE_TRIES &&
	    lanes_ask(workspace, workspace->host->disk_lane, LANE_OP_DISK_ERASE, on_erased) == 0)
		return;
	if (err)
		leave_disk(workspace, err->msg);
	else
		forget_disk(workspace);
}

void stage_disk_stop(struct workspace *workspace)
{
	workspace->disk.n_tries = 0;
	if (!workspace->disk.may_exist)
		forget_disk(workspace);
	else if (lanes_ask(workspace, workspace->host->disk_lane, LANE_OP_DISK_ERASE, on_erased) < 0)
		leave_disk(workspace, "no memory to ask for its end");
}

/* Whatever the lane sees, this disk lost what the guest wrote; only what the lane sees counts against the host. */
static void on_looked(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct workspace *workspace = ctx;
	struct err err;

	(void)reply;
	if (lane_err)
		err = *lane_err;
	else
		(void)err_set(&err, ERR_BUSY, 0, "the microVM says that its disk cannot be written, where this host can");
	workspace_fault(workspace, "", &err);
	end_pending(workspace);
}

/* It may lie: the lane looks itself. */
void stage_disk_on_io_error(void *ctx)
{
	const struct lane_request request = { .op = LANE_OP_DISK_LOOK, .deadline_boot_ms = lane_deadline_boot_ms() };
	struct workspace *workspace = ctx;
	struct err err;

	if (workspace->disk.is_pending || workspace->state >= WORKSPACE_ENDING)
		return; /* while it is being made nobody can write there yet */
	workspace->disk.is_pending = true;
	if (lane_client_call(workspace->host->disk_lane, &request, on_looked, workspace) == 0)
		return;
	workspace->disk.is_pending = false;
	(void)err_set(&err, ERR_BUSY, ENOMEM, "look at a disk");
	workspace_fault(workspace, "", &err);
}
