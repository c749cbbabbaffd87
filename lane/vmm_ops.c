/* What lanes do with microVMs: they are started here, each in its jail and under its guard, and ended here where the guard
 * does not do it. */
#include "base/clock.h"
#include "base/own.h"
#include "host/vm.h"
#include "lane/ops.h"
#include "wire/task.h"

/* No owner can move a microVM's deadline beyond this: one that was taken over ends with what it has, at the latest then. */
#define LONGEST_MS (2 * TASK_MAX_TTL_MS)

static int check_guard_deadline(uint64_t deadline_boot_ms, struct err *err)
{
	uint64_t now = clock_boot_ms();

	if (deadline_boot_ms <= now)
		return err_set(err, ERR_BUSY, ETIME, "the microVM's deadline passed before the vmm lane came to start it");
	if (deadline_boot_ms - now > LONGEST_MS)
		return err_set(err, ERR_BUG, ERANGE, "a deadline that is farther away than any task may last");
	return 0;
}

static void give_ends(const struct launch_ends *ends, struct lane_reply *reply)
{
	reply->fds[0] = ends->control_fd;
	reply->fds[1] = ends->guest_fd;
	reply->fds[2] = ends->guard_fd;
	reply->n_fds = 3;
	if (ends->memory_fd < 0)
		return;
	reply->fds[3] = ends->memory_fd;
	reply->fds[4] = ends->state_fd;
	reply->n_fds = 5;
}

/* Moves the request's descriptor and key. */
static void take_drive(struct lane_request *request, struct drive *ret)
{
	ret->kind = request->of.vm_start.drive;
	if (ret->kind == DRIVE_NONE)
		return;
	ret->fd = take_fd(&request->fds[0]);
	if (ret->kind == DRIVE_FILE)
		ret->of.file.key = TAKE_PTR(request->secret);
}

static int start(struct lane_context *context, const struct lane_request *request, const struct drive *drive,
		 struct launch_ends *ret, struct err *err)
{
	const struct lane_vm_start *start = &request->of.vm_start;
	const struct lane_setup *setup = context->setup;
	bool is_clone = request->n_fds == 2;
	const struct launch_template from = { .memory_fd = request->fds[0], .state_fd = request->fds[1], .build_id = start->build_id };
	const struct launch launch = { .vm_id = start->vm_id,
				       .uid = setup->slot_uid_base + start->slot,
				       .image = start->image,
				       .accel = setup->accel,
				       .memory_mib = start->memory_mib,
				       .cpus = start->cpus,
				       .disk_mib = start->disk_mib,
				       .tsc_khz = context->tsc_khz,
				       .deadline_boot_ms = start->guard_deadline_boot_ms,
				       .limit_boot_ms = clock_boot_ms() + LONGEST_MS,
				       .drive = drive->kind == DRIVE_NONE ? NULL : drive,
				       .from = is_clone ? &from : NULL };
	int r = check_guard_deadline(start->guard_deadline_boot_ms, err);

	if (r < 0)
		return r;
	if (start->slot >= setup->n_slots)
		return err_set(err, ERR_BUG, ERANGE, "slot %u of %u", start->slot, setup->n_slots);
	return launcher_start(&setup->place, setup->libexec_dir, start->launcher, &launch, ret, err);
}

int lane_op_vm_start(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	cleanup_(drive_clear) struct drive drive = { 0 };
	struct launch_ends ends;
	int r;

	take_drive(request, &drive);
	r = start(context, request, &drive, &ends, err);
	if (r < 0)
		return r;
	give_ends(&ends, reply);
	reply->of.vm_start.build_id = ends.build_id;
	return 0;
}

int lane_op_vm_destroy(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	(void)reply;
	return vm_destroy(&context->setup->place, request->of.vm.vm_id, err);
}

/* Its name is no workspace's: it has no lease. */
int lane_op_vm_probe(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	const struct lane_setup *setup = context->setup;
	const struct lane_vm_probe *probe = &request->of.vm_probe;
	struct launch_ends ends;
	int r = check_guard_deadline(probe->guard_deadline_boot_ms, err);

	if (r == 0)
		r = launcher_probe(&setup->place, setup->libexec_dir, probe->launcher, setup->accel,
				   probe->guard_deadline_boot_ms, NULL, &ends, err);
	if (r == 0)
		give_ends(&ends, reply);
	return r;
}
