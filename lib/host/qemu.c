#include "host/qemu.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/disk.h"
#include "host/uids.h"

#define TSC_SAMPLE_US 20000
#define PROBE_MEMORY_MIB 256
#define PROBE_DISK_MIB 64 /* of the placeholder, which it never opens */

uint32_t qemu_tsc_khz(void)
{
	uint64_t ns0 = clock_mono_ns(), tsc0 = __rdtsc(), ns1, tsc1;

	(void)usleep(TSC_SAMPLE_US);
	ns1 = clock_mono_ns();
	tsc1 = __rdtsc();
	return (uint32_t)((tsc1 - tsc0) * 1000000u / (ns1 - ns0));
}

void qemu_command_fill(struct qemu_command *command, const struct qemu_shape *shape)
{
	const char *const fixed[] = {
		"/usr/bin/qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=off", "-nodefaults",
		"-no-user-config", "-display", "none", "-action", shape->accel == ACCEL_KVM ? "reboot=shutdown" : "reboot=reset",
		"-object", "main-loop,id=main-loop,thread-pool-max=16", /* VM_PIDS in jail/guard.c has room for these */
		"-accel", shape->accel == ACCEL_KVM ? "kvm" : "tcg,tb-size=64", "-cpu",
		shape->accel == ACCEL_KVM ? "host" : "max", "-m", command->memory, "-smp", command->cpus,
		"-kernel", "/proc/self/fd/5", "-initrd", "/proc/self/fd/6", "-append", command->append,
		"-chardev", "socket,id=channel,fd=3", "-device", "virtio-serial-device,max_ports=2",
		"-device", "virtserialport,chardev=channel,name=agent",
		"-chardev", "socket,id=control,fd=4", "-mon", "chardev=control,mode=control",
		"-add-fd", "fd=7,set=9", "-blockdev",
		"node-name=image,driver=file,filename=/dev/fdset/9,read-only=on,auto-read-only=off,locking=off",
		"-device", "virtio-blk-device,drive=image,serial=root",
		"-blockdev", command->placeholder, "-device", "virtio-blk-device,drive=work,serial=work",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
	};

	static_assert(ARRAY_SIZE(fixed) < QEMU_MAX_ARGS, "the command line fits");
	memcpy(command->argv, fixed, sizeof(fixed));
	command->argv[ARRAY_SIZE(fixed)] = NULL;
	(void)snprintf(command->memory, sizeof(command->memory), "%u", shape->memory_mib);
	(void)snprintf(command->cpus, sizeof(command->cpus), "%u", shape->cpus);
	(void)snprintf(command->append, sizeof(command->append),
		       "quiet panic=-1 reboot=t tsc_early_khz=%u tsc=reliable cryptomgr.notests=1 noreplace-smp", shape->tsc_khz);
	(void)snprintf(command->placeholder, sizeof(command->placeholder),
		       "driver=raw,node-name=work,file.driver=null-co,file.size=%llu,file.read-zeroes=on",
		       (unsigned long long)disk_size_class_mib(shape->disk_mib) << 20);
}

/* What is wrong with the one that a task named says nothing about the host. */
static bool is_about_one_image(int errnum)
{
	return errnum == ELOOP || errnum == EXDEV || errnum == ENOTDIR;
}

/* The images folder may be anything the administrator made it; below it, nothing is followed. */
static int open_image(const struct host_place *place, const char *image, struct err *err)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	char dir_path[PATH_MAX], name[IDENT_IMAGE_MAX + sizeof("/" NAMES_ROOTFS)];
	cleanup_fd int dir_fd = -1;
	struct stat st;
	int fd;

	names_images_dir(place, dir_path);
	dir_fd = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_set(err, ERR_HOST, errno, "open the images folder '%s'", dir_path);
	(void)snprintf(name, sizeof(name), "%.*s/" NAMES_ROOTFS, IDENT_IMAGE_MAX, image);
	fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close_fd(&fd);
		errno = ELOOP;
	}
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_INPUT, 0,
			       "image: '%s' is not on this host; build it with 'mayfly image build', or name one that is",
			       image);
	if (fd < 0 && is_about_one_image(errno))
		return err_set(err, ERR_INPUT, 0,
			       "image: '%s' on this host is no image (a link, or no file); build it again with 'mayfly image build'",
			       image);
	return fd < 0 ? err_set(err, ERR_HOST, errno, "open image '%s'", image) : fd;
}

static int open_bundle(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_set(err, ERR_HOST, errno, "open '%s'; build it with 'mayfly image build'", path) : fd;
}

static void close_all(int (*fds)[QEMU_FD_COUNT])
{
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		close_fd(&(*fds)[i]);
}

static int open_files(const struct host_place *place, const char *image, int *fds, struct err *err)
{
	char kernel[PATH_MAX], initrd[PATH_MAX];

	names_kernel(place, kernel);
	names_initrd(place, initrd);
	fds[QEMU_FD_KERNEL] = open_bundle(kernel, err);
	if (fds[QEMU_FD_KERNEL] < 0)
		return fds[QEMU_FD_KERNEL];
	fds[QEMU_FD_INITRD] = open_bundle(initrd, err);
	if (fds[QEMU_FD_INITRD] < 0)
		return fds[QEMU_FD_INITRD];
	/* Only the probe has no image: the agent speaks before it looks for one. */
	fds[QEMU_FD_ROOTFS] = image ? open_image(place, image, err) : open_bundle(initrd, err);
	return fds[QEMU_FD_ROOTFS] < 0 ? fds[QEMU_FD_ROOTFS] : 0;
}

static int make_pair(int *theirs, int *ours, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, ERR_HOST, errno, "a socket for QEMU");
	*theirs = pair[0];
	*ours = pair[1];
	return 0;
}

int qemu_start(const struct host_place *place, const char *libexec_dir, const struct qemu_request *request,
	       struct qemu_ends *ret, struct err *err)
{
	cleanup_(close_all) int fds[QEMU_FD_COUNT] = { -1, -1, -1, -1, -1 };
	cleanup_fd int channel_fd = -1;
	cleanup_fd int qmp_fd = -1;
	struct qemu_command command;
	struct vm_plan plan = { .id = request->id,
				.uid = request->uid,
				.memory_mib = request->shape.memory_mib,
				.cpus = request->shape.cpus,
				.file_mib = disk_file_mib(request->shape.disk_mib),
				.deadline_boot_ms = request->deadline_boot_ms,
				.needs_kvm = request->shape.accel == ACCEL_KVM,
				.argv = command.argv,
				.fds = fds,
				.n_fds = QEMU_FD_COUNT };
	int r = open_files(place, request->image, fds, err);

	if (r == 0)
		r = make_pair(&fds[QEMU_FD_CHANNEL], &channel_fd, err);
	if (r == 0)
		r = make_pair(&fds[QEMU_FD_QMP], &qmp_fd, err);
	if (r < 0)
		return r;
	qemu_command_fill(&command, &request->shape);
	r = vm_spawn(place, libexec_dir, &plan, &ret->guard_fd, err);
	if (r < 0)
		return r;
	ret->channel_fd = take_fd(&channel_fd);
	ret->qmp_fd = take_fd(&qmp_fd);
	return 0;
}

int qemu_start_probe(const struct host_place *place, const char *libexec_dir, const char *id, enum accel accel,
		     uint64_t deadline_boot_ms, struct qemu_ends *ret, struct err *err)
{
	const struct qemu_request request = { .id = id,
					      .uid = UID_PROBE,
					      .shape = { .accel = accel,
							 .memory_mib = PROBE_MEMORY_MIB,
							 .cpus = 1,
							 .disk_mib = PROBE_DISK_MIB,
							 .tsc_khz = qemu_tsc_khz() },
					      .deadline_boot_ms = deadline_boot_ms };
	char images[PATH_MAX];

	names_images_dir(place, images);
	if (access(images, R_OK | X_OK) < 0)
		return err_set(err, ERR_HOST, errno, "look into the images folder '%s'", images);
	return qemu_start(place, libexec_dir, &request, ret, err);
}
