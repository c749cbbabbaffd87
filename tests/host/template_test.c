/* Templates and clones by the engine's own means: the real lane, jail, guard, QEMU and agent. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/guard.h"
#include "host/sealed.h"
#include "lane/workspaces.h"
#include "tests/support/guest_vm.h"
#include "tests/support/turn.h"
#include "tests/support/vmm_jail.h"
#include "tests/support/vmm_lane.h"
#include "tests/unit/unit.h"
#include "worker/vmm/control.h"

#define CLONES 3
#define TEMPLATE_ID "template"
#define STATE_BYTES 60000 /* as a real one has */

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

/* FNV-1a over words. */
static uint64_t digest_of(int fd)
{
	static uint64_t words[1 << 17];
	uint64_t digest = 0xcbf29ce484222325u;
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, words, sizeof(words), at)) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(words[0]); i++)
			digest = (digest ^ words[i]) * 0x100000001b3u;
		at += n;
	}
	return digest;
}

static void make_template(void)
{
	struct lane_request request = vmm_lane_request(TEMPLATE_ID, clock_boot_ms() + VMM_LANE_LONG_MS);
	struct lane_reply *reply = &fixture.lane.reply;
	struct machine machine;
	uint64_t before;
	struct err err;

	request.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	start_machine(&machine, &request);
	fixture.from = (struct launch_template){ .memory_fd = take_fd(&reply->fds[3]),
						 .state_fd = take_fd(&reply->fds[4]),
						 .build_id = reply->of.vm_start.build_id };
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	before = digest_of(fixture.from.memory_fd);
	(void)guest_vm_attach(&machine.guest);
	assert_int_not_equal(digest_of(fixture.from.memory_fd), before); /* control: a guest that does something is seen there */
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

static void restore(struct machine *machine)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.restore(machine->vmm, &err), 0);
	turn_until(fixture.base, has_restored, machine);
	if (machine->err.kind)
		fail_msg("%s", machine->err.msg);
	assert_int_equal(vmm_control_qemu.agent_listens(machine->vmm, &err), 0);
}

static void start_clone(struct machine *machine, uint32_t slot)
{
	char vm_id[32];
	struct lane_request request;

	(void)snprintf(vm_id, sizeof(vm_id), "clone-%u-%llu", slot, (unsigned long long)fixture.lane.seq);
	request = clone_request(vm_id, slot);
	start_machine(machine, &request);
	restore(machine);
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

/* They write to copies of their own; what their template said to its first engine is still as it was. */
static void test_clones_leave_their_template_as_it_was(void **state)
{
	uint64_t before = digest_of(fixture.from.memory_fd);
	struct machine clones[CLONES];

	(void)state;
	for (uint32_t i = 0; i < CLONES; i++) {
		start_clone(&clones[i], i);
		(void)guest_vm_attach(&clones[i].guest);
	}
	assert_int_equal(digest_of(fixture.from.memory_fd), before);
	for (uint32_t i = 0; i < CLONES; i++)
		end_machine(&clones[i]);
}

/* `len` bytes of a file or device, sealed. */
static int copy_of(int fd, size_t len)
{
	int copy_fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct err err;
	char *bytes = malloc(len);

	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, len, 0), len);
	assert_int_equal(pwrite(copy_fd, bytes, len, 0), len);
	free(bytes);
	assert_int_equal(sealed_memory_seal(copy_fd, &err), 0);
	return copy_fd;
}

static bool has_broken(const void *ctx)
{
	return ((const struct machine *)ctx)->n_broken > 0;
}

/* Its QEMU exits: one end, and nobody hangs. */
static void expect_no_start(const char *vm_id, int state_fd)
{
	struct lane_request request = clone_request(vm_id, 0);
	struct machine machine;
	struct err err;

	request.fds[1] = state_fd;
	start_machine(&machine, &request);
	assert_int_equal(vmm_control_qemu.restore(machine.vmm, &err), 0);
	turn_until(fixture.base, has_broken, &machine);
	assert_int_equal(machine.n_broken, 1);
	assert_int_equal(machine.n_restored, 0);
	assert_int_equal(machine.err.kind, ERR_BUSY);
	end_machine(&machine);
}

static void test_a_state_that_is_none(void **state)
{
	cleanup_fd int zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	cleanup_fd int random_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	cleanup_fd int zeros_fd = -1, noise_fd = -1, half_fd = -1, whole_fd = -1;
	int own_fd = fixture.from.state_fd;
	struct machine machine;

	(void)state;
	zeros_fd = copy_of(zero_fd, STATE_BYTES);
	noise_fd = copy_of(random_fd, STATE_BYTES);
	half_fd = copy_of(own_fd, (size_t)lseek(own_fd, 0, SEEK_END) / 2);
	whole_fd = copy_of(own_fd, (size_t)lseek(own_fd, 0, SEEK_END));
	expect_no_start("zeros", zeros_fd);
	expect_no_start("noise", noise_fd);
	expect_no_start("half", half_fd);
	fixture.from.state_fd = whole_fd; /* control: a copy does start */
	start_clone(&machine, 0);
	fixture.from.state_fd = own_fd;
	end_machine(&machine);
}

static int visit(void *ctx, const char *id)
{
	(void)ctx, (void)id;
	return 1;
}

static void expect_refusal(const struct lane_request *request, int errnum)
{
	struct err err;

	vmm_lane_ask(&fixture.lane, request);
	assert_int_equal(vmm_lane_answer(&fixture.lane), errnum);
	assert_int_equal(fixture.lane.fault.kind, errnum == ESTALE ? ERR_BUSY : ERR_BUG);
	assert_int_equal(workspaces_each(&fixture.lane.setup.place, visit, NULL, &err), 0);
}

static int memory_of(uint64_t bytes, int seals)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
#define MIB   (1ull << 20)

/* An engine that was taken over asks for what would let one clone write what others read, or a lane read what is not a template's. */
static void test_what_is_no_template_is_refused(void **state)
{
	static const int each_but_one[] = { 0, SEALS & ~F_SEAL_WRITE, SEALS & ~F_SEAL_GROW, SEALS & ~F_SEAL_SHRINK, SEALS & ~F_SEAL_SEAL };
	struct lane_request request = clone_request("refused", 0);
	char path[] = "/tmp/mayfly-no-memory.XXXXXX";
	uint64_t memory_bytes = (uint64_t)request.of.vm_start.memory_mib * MIB;
	int others[] = { open("/dev/null", O_RDWR | O_CLOEXEC), mkostemp(path, O_CLOEXEC), memory_of(memory_bytes - 4096, SEALS),
			 memory_of(memory_bytes + 4096, SEALS), memory_of(0, SEALS), memory_of((LAUNCH_STATE_MAX_MIB + 1) * MIB, SEALS) };
	struct machine machine;

	(void)state;
	assert_int_equal(unlink(path), 0);
	for (int i = 0; i < 2; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(each_but_one); j++) {
			cleanup_fd int fd = memory_of(i ? 4096 : memory_bytes, each_but_one[j]);

			request = clone_request("refused", 0);
			request.fds[i] = fd;
			expect_refusal(&request, EINVAL);
		}
		for (size_t j = 0; j < ARRAY_SIZE(others); j++) {
			request = clone_request("refused", 0);
			request.fds[i] = others[j];
			if (i == 0 || j < 2 || j >= 4)
				expect_refusal(&request, EINVAL);
		}
	}
	request = clone_request("refused", 0);
	request.fds[0] = fixture.from.state_fd;
	request.fds[1] = fixture.from.memory_fd;
	expect_refusal(&request, EINVAL);
	for (size_t j = 0; j < ARRAY_SIZE(others); j++)
		close_fd(&others[j]);
	start_clone(&machine, 0); /* control: the real one */
	end_machine(&machine);
}

static void test_an_old_template_is_refused(void **state)
{
	struct lane_request request = clone_request("old", 0);

	(void)state;
	request.of.vm_start.build_id += 2;
	expect_refusal(&request, ESTALE);
	request = clone_request("shape", 0);
	request.of.vm_start.cpus = 2; /* made for another microVM */
	expect_refusal(&request, ESTALE);
	request = clone_request("disk", 0);
	request.of.vm_start.disk_mib *= 64;
	expect_refusal(&request, ESTALE);
}

#define TEXT_BYTES 16384

/* What a template may write to a file is its state, and no disk. */
static char *without_file_limit(char *text)
{
	char *line = strstr(text, "Max file size"), *end;

	assert_non_null(line);
	end = strchr(line, '\n');
	memset(line, ' ', (size_t)(end - line));
	return text;
}

/* The jail is the same whatever a VMM is started for. */
static void test_one_jail_for_all(void **state)
{
	static const char *const cold_files[] = { "/dev/null", "/vmlinux", "/initrd.cpio", "/rootfs.erofs", NULL };
	static const char *const template_files[] = { "/dev/null", "/vmlinux", "/initrd.cpio", "/rootfs.erofs", "/memfd:template", NULL };
	static const char *const clone_files[] = { "/dev/null", "/rootfs.erofs", "/memfd:template", NULL };
	static char cold_text[TEXT_BYTES], template_text[TEXT_BYTES], clone_text[TEXT_BYTES], own_text[TEXT_BYTES];
	struct lane_request request = vmm_lane_request("cold", clock_boot_ms() + VMM_LANE_LONG_MS);
	struct machine machine;

	(void)state;
	start_machine(&machine, &request);
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "cold"), cold_text, sizeof(cold_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "cold"), cold_files);
	end_machine(&machine);
	(void)snprintf(request.of.vm_start.vm_id, sizeof(request.of.vm_start.vm_id), "again");
	request.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	start_machine(&machine, &request);
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "again"), template_text, sizeof(template_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "again"), template_files);
	end_machine(&machine);
	request = clone_request("clone", 0);
	start_machine(&machine, &request);
	restore(&machine);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "clone"), clone_text, sizeof(clone_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "clone"), clone_files);
	end_machine(&machine);
	vmm_jail_describe(getpid(), own_text, sizeof(own_text)); /* control: it sees a difference */
	assert_string_equal(clone_text, cold_text);
	assert_non_null(strstr(cold_text, "CapEff:\t0000000000000000\n"));
	assert_null(strstr(cold_text, "the host's"));
	assert_string_not_equal(own_text, cold_text);
	assert_non_null(strstr(own_text, "the host's"));
	assert_string_equal(without_file_limit(template_text), without_file_limit(cold_text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clones_go_on),
		cmocka_unit_test(test_clones_leave_their_template_as_it_was),
		cmocka_unit_test(test_a_state_that_is_none),
		cmocka_unit_test(test_what_is_no_template_is_refused),
		cmocka_unit_test(test_an_old_template_is_refused),
		cmocka_unit_test(test_one_jail_for_all),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
