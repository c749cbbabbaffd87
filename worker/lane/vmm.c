/* The vmm lane: VMMs are spawned here, each into its jail. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/qemu.h"
#include "host/vm.h"
#include "wire/task.h"
#include "worker/lane/serve.h"

/* Requests wait behind those that hang, and their deadlines do not move. */
static int check_deadline(const struct lane_request *request, struct err *err)
{
	uint64_t now = clock_boot_ms();

	if (request->deadline_boot_ms <= now)
		return err_set(err, ERR_BUSY, ETIME, "the microVM's deadline passed before the vmm lane came to start it");
	if (request->deadline_boot_ms - now > 2 * TASK_MAX_TTL_MS)
		return err_set(err, ERR_BUG, ERANGE, "a deadline that is farther away than any task may last");
	return 0;
}

static int give_ends(const struct qemu_ends *ends, struct lane_reply *reply, int fds[LANE_MAX_FDS])
{
	fds[0] = ends->qmp_fd;
	fds[1] = ends->channel_fd;
	fds[2] = ends->guard_fd;
	reply->n_fds = 3;
	return 0;
}

static int op_start(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		    int fds[LANE_MAX_FDS], struct err *err)
{
	const struct lane_setup *setup = context->setup;
	const struct qemu_request start = { .id = request->id,
					    .image = request->image,
					    .uid = setup->slot_uid_base + request->slot,
					    .shape = { .accel = setup->allow_kvm ? ACCEL_KVM : ACCEL_TCG,
						       .memory_mib = request->memory_mib,
						       .cpus = request->cpus,
						       .disk_mib = request->disk_mib,
						       .tsc_khz = context->tsc_khz },
					    .deadline_boot_ms = request->deadline_boot_ms };
	struct qemu_ends ends;
	int r;

	if (request->slot >= setup->n_slots)
		return err_set(err, ERR_BUG, ERANGE, "slot %u of %u", request->slot, setup->n_slots);
	r = check_deadline(request, err);
	if (r < 0)
		return r;
	/* Who asks holds the lease: a VM of that name was left by an attempt that could not end it. */
	r = vm_destroy(&setup->place, request->id, err);
	if (r < 0)
		err->kind = ERR_BUSY; /* this workspace cannot be made here now; the host is none the worse for others */
	if (r == 0)
		r = qemu_start(&setup->place, setup->libexec_dir, &start, &ends, err);
	if (r < 0)
		return r;
	return give_ends(&ends, reply, fds);
}

/* Its name is no workspace's: the reaper has no business with it. One that an earlier lane left dies with its engine. */
static int op_probe(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		    int fds[LANE_MAX_FDS], struct err *err)
{
	const struct lane_setup *setup = context->setup;
	char id[32];
	struct qemu_ends ends = { -1, -1, -1 };
	int r = check_deadline(request, err);

	(void)snprintf(id, sizeof(id), "_probe-%d", (int)getpid());
	if (r == 0)
		r = vm_destroy(&setup->place, id, err);
	if (r == 0)
		r = qemu_start_probe(&setup->place, setup->libexec_dir, id, setup->allow_kvm ? ACCEL_KVM : ACCEL_TCG,
				     request->deadline_boot_ms, &ends, err);
	if (r < 0)
		return r;
	return give_ends(&ends, reply, fds);
}

static const lane_op_fn ops[LANE_OP_COUNT] = {
	[LANE_OP_VM_START] = op_start,
	[LANE_OP_VM_DESTROY] = lane_op_destroy_vm,
	[LANE_OP_VM_PROBE] = op_probe,
};

int lane_vmm_main(int socket_fd, const struct lane_setup *setup)
{
	struct lane_context context = { .setup = setup, .tsc_khz = qemu_tsc_khz() };

	return lane_serve(socket_fd, &context, ops);
}
