/* QEMU's command line: the one place that knows it. The microVM has two block devices, "root" (the image, read-only) and
 * "work" (a placeholder of the right size until the encrypted disk is attached over QMP), one virtio-serial port "agent",
 * and no network device. QEMU sees no path of the host: everything is a descriptor. */
#include "lane/launch_qemu.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/own.h"
#include "host/disk/disk.h"

#define TEXT_BYTES sizeof(((struct launch_plan *)0)->text[0])

void qemu_command_fill(struct launch_plan *plan, const struct launch *launch)
{
	char *memory = plan->text[0], *cpus = plan->text[1], *append = plan->text[2], *placeholder = plan->text[QEMU_TEXT_DISK];
	bool is_kvm = launch->accel == ACCEL_KVM;
	const char *const fixed[] = {
		"/usr/bin/qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=off", "-nodefaults",
		"-no-user-config", "-display", "none", "-action", is_kvm ? "reboot=shutdown" : "reboot=reset",
		"-object", "main-loop,id=main-loop,thread-pool-max=16", /* the jail's profile has room for these */
		"-accel", is_kvm ? "kvm" : "tcg,tb-size=64", "-cpu",
		is_kvm ? "host" : "max", "-m", memory, "-smp", cpus,
		"-kernel", "/proc/self/fd/5", "-initrd", "/proc/self/fd/6", "-append", append,
		"-chardev", "socket,id=channel,fd=3", "-device", "virtio-serial-device,max_ports=2",
		"-device", "virtserialport,chardev=channel,name=agent",
		"-chardev", "socket,id=control,fd=4", "-mon", "chardev=control,mode=control",
		"-add-fd", "fd=7,set=9", "-blockdev",
		"node-name=image,driver=file,filename=/dev/fdset/9,read-only=on,auto-read-only=off,locking=off",
		"-device", "virtio-blk-device,drive=image,serial=root",
		"-blockdev", placeholder, "-device", "virtio-blk-device,drive=work,serial=work",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
	};

	static_assert(ARRAY_SIZE(fixed) < LAUNCHER_MAX_ARGS, "the command line fits");
	memcpy(plan->argv, fixed, sizeof(fixed));
	plan->argv[ARRAY_SIZE(fixed)] = NULL;
	(void)snprintf(memory, TEXT_BYTES, "%u", launch->memory_mib);
	(void)snprintf(cpus, TEXT_BYTES, "%u", launch->cpus);
	(void)snprintf(append, TEXT_BYTES,
		       "quiet panic=-1 reboot=t tsc_early_khz=%u tsc=reliable cryptomgr.notests=1 noreplace-smp", launch->tsc_khz);
	(void)snprintf(placeholder, TEXT_BYTES,
		       "driver=raw,node-name=work,file.driver=null-co,file.size=%llu,file.read-zeroes=on",
		       (unsigned long long)disk_size_class_mib(launch->disk_mib) << 20);
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

static int plan(const struct host_place *place, const struct launch *launch, struct launch_plan *ret, struct err *err)
{
	int r;

	if (launch->drive)
		return err_set(err, ERR_BUG, EINVAL, "a disk for QEMU at its start: it is given one over QMP");
	ret->n_fds = QEMU_FD_COUNT;
	ret->file_mib = disk_file_mib(DISK_FORM_LUKS1, launch->disk_mib);
	r = open_files(place, launch->image, ret->fds, err);
	if (r == 0)
		r = make_pair(&ret->fds[QEMU_FD_CHANNEL], &ret->guest_fd, err);
	if (r == 0)
		r = make_pair(&ret->fds[QEMU_FD_QMP], &ret->control_fd, err);
	if (r == 0)
		qemu_command_fill(ret, launch);
	return r;
}

const struct launcher launcher_qemu = {
	.name = "qemu",
	.jail = &jail_profile_qemu,
	.control = LAUNCHER_CONTROL_QMP,
	.guest = LAUNCHER_GUEST_SERIAL,
	.plan = plan,
};
