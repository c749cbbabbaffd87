#include "tests/support/guest_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/disk/blank.h"
#include "lane/qemu_command.h"

#define PATIENCE_MS 120000 /* a boot takes a second or two; a busy machine stretches it */
#define FDS	    QEMU_FD_TEMPLATE_COUNT /* for a VM of any kind */
#define READ_BYTES  65536
#define CPIO_NAME   "init"

const char *guest_vm_agent = AGENT;
const char *guest_vm_warm;

static const char *state_dir(void)
{
	const char *dir = getenv("MAYFLY_STATE");

	return dir ? dir : SOURCE_DIR "/.mayfly";
}

static const char *state_path(const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", state_dir(), name);
	return out;
}

const char *guest_vm_missing(const char *image)
{
	static char why[PATH_MAX + 64];
	char name[128], path[PATH_MAX];

	(void)snprintf(name, sizeof(name), "images/%s/rootfs.erofs", image);
	if (access("/usr/bin/qemu-system-x86_64", X_OK) < 0)
		return "there is no qemu-system-x86_64";
	if (access(state_path("kernel/vmlinux", path), R_OK) == 0 && access(state_path(name, path), R_OK) == 0)
		return NULL;
	(void)snprintf(why, sizeof(why), "there is no %s; build it with tools/image", path);
	return why;
}

static int open_state(const char *name)
{
	char path[PATH_MAX];
	int fd = open(state_path(name, path), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void append_file(int to_fd, int from_fd)
{
	struct stat stat;
	off_t offset = 0;

	assert_int_equal(fstat(from_fd, &stat), 0);
	while (offset < stat.st_size)
		assert_true(sendfile(to_fd, from_fd, &offset, (size_t)(stat.st_size - offset)) > 0);
}

static void pad(int fd)
{
	static const char zeros[4];
	off_t end = lseek(fd, 0, SEEK_END);

	assert_true(write(fd, zeros, (size_t)(-end & 3)) >= 0);
}

/* The head of a member in the "newc" format (cpio(5)); the kernel takes the later of two files of one name. */
static void append_member(int fd, const char *name, unsigned mode, size_t len)
{
	(void)dprintf(fd, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x%s%c", 0, mode, 0, 0, 1, 0, len,
		      0, 0, 0, 0, strlen(name) + 1, 0, name, 0);
	pad(fd);
}

static void append_path(int fd, const char *name, unsigned mode, const char *path)
{
	cleanup_fd int from_fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	assert_true(from_fd >= 0);
	assert_int_equal(fstat(from_fd, &stat), 0);
	append_member(fd, name, S_IFREG | mode, (size_t)stat.st_size);
	append_file(fd, from_fd);
	pad(fd);
}

static int make_initrd(void)
{
	cleanup_fd int bundle_fd = open_state("kernel/initrd.cpio");
	int fd = memfd_create("initrd", MFD_CLOEXEC);

	assert_true(fd >= 0);
	append_file(fd, bundle_fd);
	pad(fd);
	append_path(fd, CPIO_NAME, 0755, guest_vm_agent);
	if (guest_vm_warm) {
		append_member(fd, "warm", S_IFDIR | 0755, 0);
		append_path(fd, "warm/python.so", 0644, guest_vm_warm);
	}
	append_member(fd, "TRAILER!!!", 0, 0);
	return fd;
}

static int make_disk(unsigned mib)
{
	char path[] = "/tmp/mayfly-work.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct err err;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)mib << 20), 0);
	if (disk_fill_blank(path, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(unlink(path), 0);
	return fd;
}

/* Byte by byte the same, which two calls of mkfs do not make. */
static int copy_disk(int blank_fd)
{
	int fd = memfd_create("work", MFD_CLOEXEC);
	off_t size = lseek(blank_fd, 0, SEEK_END), data = 0, hole;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	while (data < size && (data = lseek(blank_fd, data, SEEK_DATA)) >= 0) {
		off_t from = data;

		hole = lseek(blank_fd, data, SEEK_HOLE);
		assert_int_equal(lseek(fd, data, SEEK_SET), data);
		while (from < hole)
			assert_true(sendfile(fd, blank_fd, &from, (size_t)(hole - from)) > 0);
		data = hole;
	}
	return fd;
}

/* In the child: the descriptors in their places, and nothing else. However the test ends, its QEMU ends with it (prctl(2): with the thread
 * that forked, which is the only one here; it outlasts execv, as QEMU's file changes no user). */
static void exec_qemu(const struct launch_plan *command, pid_t parent, const int *fds, int n)
{
	int moved[16];

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	for (int i = 0; i < n; i++)
		moved[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD, 64);
	for (int i = 0; i < n; i++)
		if (moved[i] >= 0)
			(void)dup2(moved[i], 3 + i);
	for (int i = 0; i < n; i++)
		(void)close(moved[i]);
	(void)execv(command->argv[0], (char *const *)(uintptr_t)command->argv);
	_exit(127);
}

static void fill_command(struct launch_plan *command, enum qemu_start start, const struct guest_template *shape)
{
	const struct launch launch = { .accel = ACCEL_TCG,
				       .memory_mib = shape->memory_mib,
				       .cpus = 1,
				       .disk_mib = shape->disk_mib,
				       .tsc_khz = launcher_tsc_khz() };

	launch_plan_init(command);
	qemu_command_fill(command, &launch, start);
	(void)snprintf(command->text[QEMU_TEXT_DISK], sizeof(command->text[0]),
		       "driver=raw,node-name=work,file.driver=file,file.locking=off,file.filename=/proc/self/fd/%d",
		       3 + QEMU_FD_TEMPLATE_DISK);
}

static int make_pair(int *ret_ours)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*ret_ours = pair[1];
	return pair[0];
}

static void open_common(int fds[FDS], struct guest_vm *vm, const char *image)
{
	char name[128];

	for (int i = 0; i < FDS; i++)
		fds[i] = -1;
	fds[QEMU_FD_CHANNEL] = make_pair(&vm->channel_fd);
	fds[QEMU_FD_QMP] = make_pair(&vm->qmp_fd);
	(void)snprintf(name, sizeof(name), "images/%s/rootfs.erofs", image);
	fds[QEMU_FD_ROOTFS] = open_state(name);
}

/* Takes the descriptors. */
static void start(struct guest_vm *vm, enum qemu_start how, const struct guest_template *shape, int fds[FDS])
{
	struct launch_plan command;
	pid_t parent = getpid();

	fill_command(&command, how, shape);
	vm->pid = fork();
	assert_true(vm->pid >= 0);
	if (vm->pid == 0)
		exec_qemu(&command, parent, fds, FDS);
	for (int i = 0; i < FDS; i++)
		close_fd(&fds[i]);
}

void guest_vm_start(struct guest_vm *vm, const char *image, unsigned memory_mib, unsigned disk_mib)
{
	const struct guest_template shape = { .image = image, .memory_mib = memory_mib, .disk_mib = disk_mib };
	int fds[FDS];

	*vm = (struct guest_vm){ 0 };
	open_common(fds, vm, image);
	fds[QEMU_FD_KERNEL] = open_state("kernel/vmlinux");
	fds[QEMU_FD_INITRD] = make_initrd();
	fds[QEMU_FD_TEMPLATE_DISK] = make_disk(disk_mib);
	start(vm, QEMU_START_COLD, &shape, fds);
	assert_int_equal(guest_vm_expect(vm, FRAME_HELLO)->version, FRAME_VERSION);
}

void guest_template_start(struct guest_template *template, struct guest_vm *vm)
{
	int fds[FDS];

	*vm = (struct guest_vm){ 0 };
	open_common(fds, vm, template->image);
	fds[QEMU_FD_KERNEL] = open_state("kernel/vmlinux");
	fds[QEMU_FD_INITRD] = make_initrd();
	template->blank_fd = make_disk(template->disk_mib);
	template->memory_fd = memfd_create("memory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(template->memory_fd, (off_t)template->memory_mib << 20), 0);
	fds[QEMU_FD_TEMPLATE_MEMORY] = dup(template->memory_fd);
	fds[QEMU_FD_TEMPLATE_DISK] = copy_disk(template->blank_fd);
	start(vm, QEMU_START_TEMPLATE, template, fds);
	assert_int_equal(guest_vm_expect(vm, FRAME_HELLO)->version, FRAME_VERSION);
}

void guest_template_free(struct guest_template *template)
{
	close_fd(&template->memory_fd);
	close_fd(&template->state_fd);
	close_fd(&template->blank_fd);
}

void guest_vm_end(struct guest_vm *vm)
{
	if (vm->pid <= 0)
		return;
	(void)kill(vm->pid, SIGKILL);
	(void)waitpid(vm->pid, NULL, 0);
	frame_clear(&vm->frame);
	buf_free(&vm->in);
	close_fd(&vm->channel_fd);
	close_fd(&vm->qmp_fd);
	vm->pid = 0;
}

void guest_vm_send_bytes(struct guest_vm *vm, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len) {
		ssize_t n = send(vm->channel_fd, p, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

void guest_vm_send(struct guest_vm *vm, const struct frame *frame)
{
	struct buf buf = { 0 };

	assert_int_equal(frame_encode(frame, &buf), 0);
	guest_vm_send_bytes(vm, buf.data, buf.len);
	buf_free(&buf);
}

/* More bytes; false when the VM ended. */
static bool receive(struct guest_vm *vm)
{
	struct pollfd pollfd = { .fd = vm->channel_fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pollfd, 1, PATIENCE_MS) != 1)
		fail_msg("the agent said nothing for %d s", PATIENCE_MS / 1000);
	assert_int_equal(buf_reserve(&vm->in, READ_BYTES), 0);
	n = recv(vm->channel_fd, vm->in.data + vm->in.len, READ_BYTES, 0);
	if (n <= 0)
		return false;
	vm->in.len += (size_t)n;
	return true;
}

const struct frame *guest_vm_next(struct guest_vm *vm)
{
	enum frame_read r;
	char why[160] = "";
	size_t bytes;

	frame_clear(&vm->frame);
	buf_consume(&vm->in, vm->frame_bytes);
	vm->frame_bytes = 0;
	while ((r = frame_reader_next(&vm->reader, vm->in.data, vm->in.len, &bytes)) != FRAME_READ_WHOLE) {
		assert_int_not_equal(r, FRAME_READ_BAD);
		buf_consume(&vm->in, bytes);
		if (r == FRAME_READ_MORE && !receive(vm))
			return NULL;
	}
	if (frame_decode(vm->in.data, bytes, &vm->frame, why) < 0)
		fail_msg("a bad frame from the agent: %s", why);
	vm->frame_bytes = bytes;
	return &vm->frame;
}

const struct frame *guest_vm_expect(struct guest_vm *vm, enum frame_type type)
{
	const struct frame *frame = guest_vm_next(vm);

	if (!frame)
		fail_msg("the VM ended where '%s' was due", frame_type_name(type));
	else if (frame->type != type)
		fail_msg("'%s' came where '%s' was due: %.*s", frame_type_name(frame->type), frame_type_name(type),
			 (int)frame->error.len, frame->error.text ? frame->error.text : "");
	return frame;
}

void guest_vm_set_up(struct guest_vm *vm)
{
	struct frame frame = { .type = FRAME_SETUP,
			       .version = FRAME_VERSION,
			       .realtime_ns = clock_wall_ns() + GUEST_VM_AHEAD_S * 1000000000ull,
			       .hostname = { .text = "guest-test", .len = 10 } };
	uint8_t entropy[FRAME_ENTROPY_BYTES];

	assert_int_equal(getrandom(entropy, sizeof(entropy), 0), sizeof(entropy));
	frame.data = entropy;
	frame.len = sizeof(entropy);
	guest_vm_send(vm, &frame);
}

void guest_vm_mount(struct guest_vm *vm)
{
	guest_vm_send(vm, &(struct frame){ .type = FRAME_MOUNT });
	(void)guest_vm_expect(vm, FRAME_READY);
}

void guest_vm_setup(struct guest_vm *vm)
{
	guest_vm_set_up(vm);
	guest_vm_mount(vm);
}

void guest_vm_hang_up(struct guest_vm *vm)
{
	close_fd(&vm->channel_fd);
	frame_clear(&vm->frame);
	buf_clear(&vm->in);
	vm->frame_bytes = 0;
}

/* Send a QMP command, with a descriptor or -1, and wait until it was done. What QEMU says, valid until the next. */
static const char *tell_qemu(struct guest_vm *vm, const char *command, int fd)
{
	union {
		struct cmsghdr align;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { .data = { 0 } };
	struct iovec bytes = { .iov_base = (void *)(uintptr_t)command, .iov_len = strlen(command) };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
	static char answer[8192];
	size_t len = 0;

	answer[0] = '\0';
	if (fd >= 0) {
		message.msg_control = control.data;
		message.msg_controllen = sizeof(control.data);
		control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(vm->qmp_fd, &message, MSG_NOSIGNAL), bytes.iov_len);
	while (!strstr(answer, "\"return\"")) { /* events may come first */
		ssize_t n = recv(vm->qmp_fd, answer + len, sizeof(answer) - 1 - len, 0);

		assert_true(n > 0);
		len += (size_t)n;
		answer[len] = '\0';
		if (strstr(answer, "\"error\""))
			fail_msg("QEMU refuses %s: %s", command, answer);
	}
	return answer;
}

static void greet_qemu(struct guest_vm *vm)
{
	if (!vm->is_qmp_ready)
		(void)tell_qemu(vm, "{\"execute\":\"qmp_capabilities\"}", -1);
	vm->is_qmp_ready = true;
}

static void ask_until(struct guest_vm *vm, const char *command, const char *answer)
{
	while (!strstr(tell_qemu(vm, command, -1), answer))
		(void)usleep(1000);
}

static void ignore_shared(struct guest_vm *vm)
{
	greet_qemu(vm);
	(void)tell_qemu(vm,
			"{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":\"x-ignore-shared\","
			"\"state\":true}]}}",
			-1);
}

void guest_template_save(struct guest_template *template, struct guest_vm *vm)
{
	template->state_fd = memfd_create("state", MFD_CLOEXEC);
	ignore_shared(vm);
	(void)tell_qemu(vm, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"state\"}}", template->state_fd);
	(void)tell_qemu(vm, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:state\"}}", -1);
	ask_until(vm, "{\"execute\":\"query-migrate\"}", "\"completed\"");
	guest_vm_end(vm);
}

void guest_vm_start_clone(struct guest_vm *vm, const struct guest_template *template)
{
	int fds[FDS];

	*vm = (struct guest_vm){ 0 };
	open_common(fds, vm, template->image);
	fds[QEMU_FD_CLONE_MEMORY] = dup(template->memory_fd);
	fds[QEMU_FD_CLONE_STATE] = dup(template->state_fd);
	assert_int_equal(lseek(template->state_fd, 0, SEEK_SET), 0); /* one clone at a time: they share it */
	fds[QEMU_FD_TEMPLATE_DISK] = copy_disk(template->blank_fd);
	vm->work_fd = dup(fds[QEMU_FD_TEMPLATE_DISK]);
	start(vm, QEMU_START_CLONE, template, fds);
	ignore_shared(vm);
	(void)tell_qemu(vm, "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:6\"}}", -1);
	ask_until(vm, "{\"execute\":\"query-status\"}", "\"running\"");
}

void guest_vm_connect_again(struct guest_vm *vm)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	greet_qemu(vm);
	(void)tell_qemu(vm, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"again\"}}", pair[0]);
	(void)tell_qemu(vm,
		  "{\"execute\":\"chardev-change\",\"arguments\":{\"id\":\"channel\",\"backend\":{\"type\":\"socket\",\"data\":"
		  "{\"addr\":{\"type\":\"fd\",\"data\":{\"str\":\"again\"}},\"server\":false}}}}",
		  -1);
	close_fd(&pair[0]);
	guest_vm_hang_up(vm);
	vm->channel_fd = pair[1];
	frame_reader_lose(&vm->reader);
}

const struct frame *guest_vm_attach(struct guest_vm *vm)
{
	struct buf sync = { 0 };

	assert_int_equal(frame_append_sync(&sync), 0);
	guest_vm_send_bytes(vm, sync.data, sync.len);
	buf_free(&sync);
	guest_vm_send(vm, &(struct frame){ .type = FRAME_ATTACH, .version = FRAME_VERSION });
	return guest_vm_expect(vm, FRAME_HELLO);
}
