#include "tests/support/vmm_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "base/own.h"
#include "host/guard.h"
#include "tests/support/turn.h"

static void note(struct vmm_machine *machine, unsigned *n, const struct err *err)
{
	++*n;
	if (err)
		machine->err = *err;
}

static void on_saved(void *ctx, const struct err *err)
{
	struct vmm_machine *machine = ctx;

	note(machine, &machine->n_saved, err);
}

static void on_restored(void *ctx, const struct err *err)
{
	struct vmm_machine *machine = ctx;

	note(machine, &machine->n_restored, err);
}

static void on_disk(void *ctx, const struct err *err)
{
	struct vmm_machine *machine = ctx;

	note(machine, &machine->n_disks, err);
}

static void on_broken(void *ctx, const struct err *err)
{
	struct vmm_machine *machine = ctx;

	note(machine, &machine->n_broken, err);
}

static void on_restart(void *ctx)
{
	(void)ctx;
}

static const struct vmm_events events = {
	.on_disk = on_disk, .on_saved = on_saved, .on_restored = on_restored, .on_restart = on_restart, .on_broken = on_broken
};

static bool has_saved(const void *ctx)
{
	const struct vmm_machine *machine = ctx;

	return machine->n_saved || machine->n_broken;
}

static bool has_restored(const void *ctx)
{
	const struct vmm_machine *machine = ctx;

	return machine->n_restored || machine->n_broken;
}

static bool has_disk(const void *ctx)
{
	const struct vmm_machine *machine = ctx;

	return machine->n_disks || machine->n_broken;
}

static bool has_broken(const void *ctx)
{
	return ((const struct vmm_machine *)ctx)->n_broken > 0;
}

void vmm_machine_start(struct vmm_machine *machine, struct vmm_lane *lane, struct event_base *base, const struct lane_request *request)
{
	struct lane_reply *reply = &lane->reply;
	struct err err;

	*machine = (struct vmm_machine){ .base = base, .guard_fd = -1 };
	vmm_lane_ask(lane, request);
	if (vmm_lane_answer(lane) || lane->fault.kind)
		fail_msg("%s", lane->fault.msg);
	assert_true(lane_reply_answers(reply, request));
	machine->guard_fd = take_fd(&reply->fds[2]);
	machine->guest.channel_fd = take_fd(&reply->fds[1]);
	machine->guest.qmp_fd = -1;
	assert_int_equal(vmm_control_qemu.open(base, take_fd(&reply->fds[0]), &events, machine, &machine->vmm, &err), 0);
}

void vmm_machine_end(struct vmm_machine *machine)
{
	struct pollfd pollfd = { .fd = machine->guard_fd, .events = POLLIN };
	struct vm_exit vm_exit;
	struct err err;

	vmm_control_qemu.close(TAKE_PTR(machine->vmm));
	(void)guard_kill(machine->guard_fd, &err); /* it may have ended by itself */
	assert_int_equal(poll(&pollfd, 1, VMM_LANE_PATIENCE_MS), 1);
	assert_int_equal(guard_receive(machine->guard_fd, &vm_exit, &err), 0);
	close_fd(&machine->guard_fd);
	guest_vm_hang_up(&machine->guest);
	buf_free(&machine->guest.in);
}

static void await(struct vmm_machine *machine, bool (*is_done)(const void *ctx))
{
	turn_until(machine->base, is_done, machine);
	if (machine->err.kind)
		fail_msg("%s", machine->err.msg);
}

void vmm_machine_save(struct vmm_machine *machine, int state_fd)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.agent_listens(machine->vmm, &err), 0);
	assert_int_equal(vmm_control_qemu.save(machine->vmm, state_fd, &err), 0);
	await(machine, has_saved);
}

void vmm_machine_restore(struct vmm_machine *machine)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.restore(machine->vmm, &err), 0);
	await(machine, has_restored);
	assert_int_equal(vmm_control_qemu.agent_listens(machine->vmm, &err), 0);
}

void vmm_machine_attach(struct vmm_machine *machine, const struct drive *drive)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.attach_drive(machine->vmm, drive, &err), 0);
	await(machine, has_disk);
}

void vmm_machine_restore_fails(struct vmm_machine *machine)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.restore(machine->vmm, &err), 0);
	turn_until(machine->base, has_broken, machine);
	assert_int_equal(machine->n_broken, 1);
	assert_int_equal(machine->n_restored, 0);
	assert_int_equal(machine->err.kind, ERR_BUSY);
}
