/* Templates and clones by the engine's own means: the real lane, jail, guard, QEMU and agent. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/disk/disk.h"
#include "host/sealed.h"
#include "lane/workspaces.h"
#include "tests/support/vmm_jail.h"
#include "tests/support/vmm_machine.h"
#include "tests/unit/unit.h"

#define CLONES 3
#define TEMPLATE_ID "template"
#define STATE_BYTES 60000 /* as a real one has */
#define DISK_MIB 64	  /* of vmm_lane_request() */

struct fixture {
	struct vmm_lane lane;
	struct event_base *base;
	struct launch_template from; /* sealed */
};

static struct fixture fixture;

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
	struct vmm_machine machine;
	uint64_t before;
	struct err err;

	request.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	vmm_machine_start(&machine, &fixture.lane, fixture.base, &request);
	fixture.from = (struct launch_template){ .memory_fd = take_fd(&reply->fds[3]),
						 .state_fd = take_fd(&reply->fds[4]),
						 .build_id = reply->of.vm_start.build_id };
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	before = digest_of(fixture.from.memory_fd);
	(void)guest_vm_attach(&machine.guest);
	assert_int_not_equal(digest_of(fixture.from.memory_fd), before); /* control: a guest that does something is seen there */
	guest_vm_send(&machine.guest, &(struct frame){ .type = FRAME_WARM, .version = FRAME_VERSION, .has_disk = true });
	assert_int_equal(guest_vm_expect(&machine.guest, FRAME_WARMED)->error.len, 0);
	vmm_machine_save(&machine, fixture.from.state_fd);
	assert_int_equal(sealed_memory_seal(fixture.from.memory_fd, &err), -EBUSY); /* it can still write there */
	vmm_machine_end(&machine);
	assert_int_equal(sealed_memory_seal(fixture.from.memory_fd, &err), 0);
	assert_int_equal(sealed_memory_seal(fixture.from.state_fd, &err), 0);
}

__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char command[6 * PATH_MAX];
	va_list args;
	int status;

	va_start(args, format);
	(void)vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	status = system(command); /* a test's own */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A state folder with blanks of its own, of which one may be changed. */
static void make_state(void)
{
	static char dir[] = "/tmp/mayfly-template.XXXXXX";
	const char *from = getenv("MAYFLY_STATE") ? getenv("MAYFLY_STATE") : SOURCE_DIR "/.mayfly";
	char path[PATH_MAX];
	struct err err;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(run("chmod 755 %s && mkdir %s/blank %s/scratch && ln -s $(realpath %s)/images $(realpath %s)/kernel $(realpath %s)/jail %s", dir, dir,
			     dir, from, from, from, dir), 0);
	(void)snprintf(path, sizeof(path), "%s/blank/work-%d.ext4", dir, DISK_MIB);
	assert_int_equal(run("truncate -s %dM %s", DISK_MIB, path), 0);
	if (disk_fill_blank(path, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(setenv("MAYFLY_STATE", dir, 1), 0);
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
	make_state();
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
	return run("rm -r %s", fixture.lane.setup.place.state_dir);
}

static void start_clone(struct vmm_machine *machine, uint32_t slot)
{
	char vm_id[32];
	struct lane_request request;

	(void)snprintf(vm_id, sizeof(vm_id), "clone-%u-%llu", slot, (unsigned long long)fixture.lane.seq);
	request = clone_request(vm_id, slot);
	vmm_machine_start(machine, &fixture.lane, fixture.base, &request);
	vmm_machine_restore(machine);
}

/* The agent, which said hello in the template, answers in each of them. */
static void test_clones_go_on(void **state)
{
	struct vmm_machine clones[CLONES];

	(void)state;
	for (uint32_t i = 0; i < CLONES; i++)
		start_clone(&clones[i], i);
	for (uint32_t i = 0; i < CLONES; i++)
		assert_false(guest_vm_attach(&clones[i].guest)->is_set_up);
	for (uint32_t i = 0; i < CLONES; i++)
		vmm_machine_end(&clones[i]);
}

/* They write to copies of their own; what their template said to its first engine is still as it was. */
static void test_clones_leave_their_template_as_it_was(void **state)
{
	uint64_t before = digest_of(fixture.from.memory_fd);
	struct vmm_machine clones[CLONES];

	(void)state;
	for (uint32_t i = 0; i < CLONES; i++) {
		start_clone(&clones[i], i);
		(void)guest_vm_attach(&clones[i].guest);
	}
	assert_int_equal(digest_of(fixture.from.memory_fd), before);
	for (uint32_t i = 0; i < CLONES; i++)
		vmm_machine_end(&clones[i]);
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

/* Its QEMU exits: one end, and nobody hangs. */
static void expect_no_start(const char *vm_id, int state_fd)
{
	struct lane_request request = clone_request(vm_id, 0);
	struct vmm_machine machine;

	request.fds[1] = state_fd;
	vmm_machine_start(&machine, &fixture.lane, fixture.base, &request);
	vmm_machine_restore_fails(&machine);
	vmm_machine_end(&machine);
}

static void test_a_state_that_is_none(void **state)
{
	cleanup_fd int zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	cleanup_fd int random_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	cleanup_fd int zeros_fd = -1, noise_fd = -1, half_fd = -1, whole_fd = -1;
	int own_fd = fixture.from.state_fd;
	struct vmm_machine machine;

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
	vmm_machine_end(&machine);
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
	struct vmm_machine machine;

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
	vmm_machine_end(&machine);
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

static void put_times(const char *path, struct timespec modified)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, modified };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* What the template mounted is not what disks are made of any more. */
static void test_another_blank_disk(void **state)
{
	struct lane_request request = clone_request("blank", 0), template = vmm_lane_request("none", clock_boot_ms() + VMM_LANE_LONG_MS);
	char path[PATH_MAX], away[PATH_MAX + 8];
	struct vmm_machine machine;
	struct stat st;

	(void)state;
	names_blank(&fixture.lane.setup.place, DISK_MIB, path);
	(void)snprintf(away, sizeof(away), "%s.away", path);
	assert_int_equal(stat(path, &st), 0);
	put_times(path, (struct timespec){ .tv_sec = st.st_mtim.tv_sec + 1 });
	expect_refusal(&request, ESTALE);
	put_times(path, st.st_mtim);
	assert_int_equal(rename(path, away), 0);
	expect_refusal(&request, ESTALE);
	template.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	vmm_lane_ask(&fixture.lane, &template);
	assert_int_equal(vmm_lane_answer(&fixture.lane), ENOENT);
	assert_int_equal(fixture.lane.fault.kind, ERR_HOST);
	assert_int_equal(run("cp -p %s %s", away, path), 0);
	expect_refusal(&request, ESTALE); /* the same bytes, and another file */
	assert_int_equal(rename(away, path), 0);
	start_clone(&machine, 0); /* control: all is as it was */
	vmm_machine_end(&machine);
}

static uint32_t run_in(struct guest_vm *guest, const char *script)
{
	struct frame_text argv[] = { { "/bin/sh", 7 }, { "-c", 2 }, { script, strlen(script) } };
	const struct frame *frame;

	guest_vm_send(guest, &(struct frame){ .type = FRAME_RUN, .exec = 1, .argv = argv, .n_argv = 3, .timeout_ms = 60000, .window = FRAME_WINDOW_BYTES });
	guest_vm_send(guest, &(struct frame){ .type = FRAME_STDIN, .exec = 1, .is_last = true });
	while ((frame = guest_vm_next(guest)) && frame->type != FRAME_EXIT)
		assert_int_not_equal(frame->type, FRAME_FAIL);
	assert_non_null(frame);
	assert_true(frame->has_exit_code);
	return frame->exit_code;
}

/* A clone on an encrypted disk of its own runs `script`; what the disk is like afterwards, decrypted, is at `raw`. */
static void run_on_disk(const char *id, const char *script, const char *raw)
{
	const struct host_place *place = &fixture.lane.setup.place;
	struct vmm_machine machine;
	struct drive drive = { 0 };
	char path[PATH_MAX];
	struct err err;

	if (disk_format(place, DISK_FORM_LUKS1, id, DISK_MIB, &drive, &err) < 0)
		fail_msg("%s", err.msg);
	names_disk(place, id, path);
	start_clone(&machine, 0);
	vmm_machine_attach(&machine, &drive);
	guest_vm_setup(&machine.guest);
	assert_int_equal(run_in(&machine.guest, script), 0);
	vmm_machine_end(&machine);
	assert_int_equal(run("printf %%s '%.*s' > %s.key && qemu-img convert --object secret,id=s,file=%s.key --image-opts "
			     "driver=luks,key-secret=s,file.filename=%s -O raw %s; r=$?; rm %s.key; exit $r",
			     DISK_KEY_BYTES, (const char *)secret_peek(drive.of.file.key), path, path, path, raw, path), 0);
	drive_clear(&drive);
	assert_int_equal(disk_erase(place, id, &err), 0);
}

#define CANARY "canary-of-one"

/* The template's disk was another one, which is gone. On its own a clone has a whole file system, and what no other has. */
static void test_each_clone_has_its_own_disk(void **state)
{
	static const char write[] = "for i in 1 2 3 4 5; do mkdir /work/$i /tmp/$i && seq 9999 > /work/$i/x && cp /work/$i/x /tmp/$i; done;"
				    "a=canary; echo $a-of-one > /work/mine; sync";
	static const char look[] = "! ls /work/mine /tmp/1 && echo other > /work/mine; sync";
	char raw[PATH_MAX];

	(void)state;
	(void)snprintf(raw, sizeof(raw), "%.4000s/raw", fixture.lane.setup.place.state_dir);
	run_on_disk("first", write, raw);
	assert_int_equal(run("e2fsck -fn %s >&2", raw), 0);
	assert_int_equal(run("grep -qa " CANARY " %s", raw), 0);
	assert_int_equal(run("dd if=/dev/zero of=%s bs=1024 seek=2 count=1 conv=notrunc status=none", raw), 0);
	assert_int_not_equal(run("e2fsck -fn %s >&2", raw), 0); /* control: it sees one wrong block */
	run_on_disk("second", look, raw);
	assert_int_equal(run("e2fsck -fn %s >&2", raw), 0);
	assert_int_equal(run("grep -qa " CANARY " %s", raw), 1);
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
	static const char *const template_files[] = { "/dev/null", "/vmlinux", "/initrd.cpio", "/rootfs.erofs", "/memfd:template", "/memfd:blank",
							NULL };
	static const char *const clone_files[] = { "/dev/null", "/rootfs.erofs", "/memfd:template", NULL };
	static char cold_text[TEXT_BYTES], template_text[TEXT_BYTES], clone_text[TEXT_BYTES], own_text[TEXT_BYTES];
	struct lane_request request = vmm_lane_request("cold", clock_boot_ms() + VMM_LANE_LONG_MS);
	struct vmm_machine machine;

	(void)state;
	vmm_machine_start(&machine, &fixture.lane, fixture.base, &request);
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "cold"), cold_text, sizeof(cold_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "cold"), cold_files);
	vmm_machine_end(&machine);
	(void)snprintf(request.of.vm_start.vm_id, sizeof(request.of.vm_start.vm_id), "again");
	request.of.vm_start.launcher = LAUNCHER_QEMU_TEMPLATE;
	vmm_machine_start(&machine, &fixture.lane, fixture.base, &request);
	(void)guest_vm_expect(&machine.guest, FRAME_HELLO);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "again"), template_text, sizeof(template_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "again"), template_files);
	vmm_machine_end(&machine);
	request = clone_request("clone", 0);
	vmm_machine_start(&machine, &fixture.lane, fixture.base, &request);
	vmm_machine_restore(&machine);
	vmm_jail_describe(vmm_jail_pid(&fixture.lane.setup.place, "clone"), clone_text, sizeof(clone_text));
	vmm_jail_expect_files(vmm_jail_pid(&fixture.lane.setup.place, "clone"), clone_files);
	vmm_machine_end(&machine);
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
		cmocka_unit_test(test_another_blank_disk),
		cmocka_unit_test(test_each_clone_has_its_own_disk),
		cmocka_unit_test(test_one_jail_for_all),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
