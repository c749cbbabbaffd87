/* Templates and clones by the engine's own means: the real lane, jail, guard, QEMU and agent. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/guard.h"
#include "host/sealed.h"
#include "host/vm.h"
#include "tests/support/guest_vm.h"
#include "tests/support/turn.h"
#include "tests/support/vmm_lane.h"
#include "tests/unit/unit.h"
#include "worker/vmm/control.h"

#define CLONES 3
#define TEMPLATE_ID "template"

struct machine {
	struct vmm *vmm;
	int guard_fd;
	struct guest_vm guest; /* its channel alone */
	unsigned n_saved, n_restored, n_broken;
	struct err err; /* of any of those */
};

struct fixture {
	struct vmm_lane lane;
	struct event_base *base;
	struct launch_template from; /* sealed */
};

static struct fixture fixture;

static void note(struct machine *machine, unsigned *n, const struct err *err)
{
	++*n;
	if (err)
		machine->err = *err;
}

static void on_saved(void *ctx, const struct err *err)
{
	struct machine *machine = ctx;

	note(machine, &machine->n_saved, err);
}

static void on_restored(void *ctx, const struct err *err)
{
	struct machine *machine = ctx;

	note(machine, &machine->n_restored, err);
}

static void on_broken(void *ctx, const struct err *err)
{
	struct machine *machine = ctx;

	note(machine, &machine->n_broken, err);
}

static void on_restart(void *ctx)
{
	(void)ctx;
}

static const struct vmm_events events = {
	.on_saved = on_saved, .on_restored = on_restored, .on_restart = on_restart, .on_broken = on_broken
};

static bool has_saved(const void *ctx)
{
	const struct machine *machine = ctx;

	return machine->n_saved || machine->n_broken;
}

static bool has_restored(const void *ctx)
{
	const struct machine *machine = ctx;

	return machine->n_restored || machine->n_broken;
}

static struct lane_request clone_request(const char *vm_id, uint32_t slot)
{
	struct lane_request request = vmm_lane_request(vm_id, clock_boot_ms() + VMM_LANE_LONG_MS);

	request.of.vm_start.launcher = LAUNCHER_QEMU_CLONE;
	request.of.vm_start.slot = slot;
	request.of.vm_start.build_id = fixture.from.build_id;
	request.fds[0] = fixture.from.memory_fd;
	request.fds[1] = fixture.from.state_fd;
	request.n_fds = 2;
	return request;
}

static void start_machine(struct machine *machine, const struct lane_request *request)
{
	struct lane_reply *reply = &fixture.lane.reply;
	struct err err;

	*machine = (struct machine){ .guard_fd = -1 };
	vmm_lane_ask(&fixture.lane, request);
	if (vmm_lane_answer(&fixture.lane) || fixture.lane.fault.kind)
		fail_msg("%s", fixture.lane.fault.msg);
	assert_true(lane_reply_answers(reply, request));
	machine->guard_fd = take_fd(&reply->fds[2]);
	machine->guest.channel_fd = take_fd(&reply->fds[1]);
	machine->guest.qmp_fd = -1;
	assert_int_equal(vmm_control_qemu.open(fixture.base, take_fd(&reply->fds[0]), &events, machine, &machine->vmm, &err), 0);
}

/* The guard has the last word. */
static void end_machine(struct machine *machine)
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

static void make_template(void)
{
	struct lane_request request = vmm_lane_request(TEMPLATE_ID, clock_boot_ms() + VMM_LANE_LONG_MS);
	struct lane_reply *reply = &fixture.lane.reply;
	struct machine machine;
	struct err err;

	request.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	start_machine(&machine, &request);
	fixture.from = (struct launch_template){ .memory_fd = take_fd(&reply->fds[3]),
						 .state_fd = take_fd(&reply->fds[4]),
						 .build_id = reply->of.vm_start.build_id };
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	assert_int_equal(vmm_control_qemu.agent_listens(machine.vmm, &err), 0);
	assert_int_equal(vmm_control_qemu.save(machine.vmm, fixture.from.state_fd, &err), 0);
	turn_until(fixture.base, has_saved, &machine);
	if (machine.err.kind)
		fail_msg("%s", machine.err.msg);
	assert_int_equal(sealed_memory_seal(fixture.from.memory_fd, &err), -EBUSY); /* it can still write there */
	end_machine(&machine);
	assert_int_equal(sealed_memory_seal(fixture.from.memory_fd, &err), 0);
	assert_int_equal(sealed_memory_seal(fixture.from.state_fd, &err), 0);
}

static int set_up(void **state)
{
	const char *missing = guest_vm_missing("base");

	if (missing) {
		print_message("skipped: %s\n", missing);
		_exit(77);
	}
	*state = &fixture;
	fixture.base = event_base_new();
	assert_non_null(fixture.base);
	vmm_lane_start(&fixture.lane, CLONES + 1);
	make_template();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_fd(&fixture.from.memory_fd);
	close_fd(&fixture.from.state_fd);
	vmm_lane_end(&fixture.lane);
	event_base_free(fixture.base);
	return 0;
}

static void start_clone(struct machine *machine, uint32_t slot)
{
	char vm_id[32];
	struct lane_request request;
	struct err err;

	(void)snprintf(vm_id, sizeof(vm_id), "clone-%u-%llu", slot, (unsigned long long)fixture.lane.seq);
	request = clone_request(vm_id, slot);
	start_machine(machine, &request);
	assert_int_equal(vmm_control_qemu.restore(machine->vmm, &err), 0);
	turn_until(fixture.base, has_restored, machine);
	if (machine->err.kind)
		fail_msg("%s", machine->err.msg);
	assert_int_equal(vmm_control_qemu.agent_listens(machine->vmm, &err), 0);
}

/* The agent, which said hello in the template, answers in each of them. */
static void test_clones_go_on(void **state)
{
	struct machine clones[CLONES];

	(void)state;
	for (uint32_t i = 0; i < CLONES; i++)
		start_clone(&clones[i], i);
	for (uint32_t i = 0; i < CLONES; i++)
		assert_false(guest_vm_attach(&clones[i].guest)->is_set_up);
	for (uint32_t i = 0; i < CLONES; i++)
		end_machine(&clones[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clones_go_on),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
