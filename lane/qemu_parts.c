#include "lane/qemu_parts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/digest.h"
#include "base/own.h"
#include "host/disk/disk.h"

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

int qemu_open_kernel(const struct host_place *place, int *fds, struct err *err)
{
	char path[PATH_MAX];

	names_kernel(place, path);
	fds[QEMU_FD_KERNEL] = open_bundle(path, err);
	if (fds[QEMU_FD_KERNEL] < 0)
		return fds[QEMU_FD_KERNEL];
	names_initrd(place, path);
	fds[QEMU_FD_INITRD] = open_bundle(path, err);
	return fds[QEMU_FD_INITRD] < 0 ? fds[QEMU_FD_INITRD] : 0;
}

/* Only the probe has no image: the agent speaks before it looks for one. */
static int open_root(const struct host_place *place, const char *image, int *fds, struct err *err)
{
	char initrd[PATH_MAX];

	names_initrd(place, initrd);
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

/* Replaced, or written to: another file for a template. What is not there is missed by who starts a VMM. */
static uint64_t add_file(uint64_t digest, const char *path, int fd)
{
	struct stat st = { 0 };
	int r = path ? stat(path, &st) : fstat(fd, &st);
	const uint64_t identity[] = { (uint64_t)r, st.st_dev, st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
				      (uint64_t)st.st_mtim.tv_nsec };

	return digest_add(digest, identity, sizeof(identity));
}

static uint64_t add_in_jail(uint64_t digest, const struct host_place *place, const char *name)
{
	char root[PATH_MAX], path[PATH_MAX + 64];

	names_jail_root(place, root);
	(void)snprintf(path, sizeof(path), "%s/%.60s", root, name);
	return add_file(digest, path, -1);
}

/* A template has mounted a copy of it, and disks of clones are made of it. */
static uint64_t add_blank(uint64_t digest, const struct host_place *place, uint32_t disk_mib)
{
	char path[PATH_MAX];

	names_blank(place, disk_size_class_mib(disk_mib), path);
	return add_file(digest, path, -1);
}

/* What is on this host now, as far as what a guest has in its memory depends on it. */
static uint64_t build_id(const struct host_place *place, const struct launch *launch, int image_fd)
{
	uint64_t digest = qemu_command_digest(launch);
	char path[PATH_MAX];

	names_kernel(place, path);
	digest = add_file(digest, path, -1);
	names_initrd(place, path);
	digest = add_file(digest, path, -1);
	digest = add_in_jail(digest, place, "manifest.json");
	digest = add_in_jail(digest, place, "usr/bin/qemu-system-x86_64");
	digest = add_blank(digest, place, launch->disk_mib);
	return add_file(digest, NULL, image_fd) | 1; /* 0 is no template's */
}

int qemu_plan_common(const struct host_place *place, const struct launch *launch, enum qemu_start start, struct launch_plan *ret,
		     struct err *err)
{
	int r;

	if (launch->drive)
		return err_set(err, ERR_BUG, EINVAL, "a disk for QEMU at its start: it is given one over QMP");
	r = open_root(place, launch->image, ret->fds, err);
	if (r == 0)
		r = make_pair(&ret->fds[QEMU_FD_CHANNEL], &ret->guest_fd, err);
	if (r == 0)
		r = make_pair(&ret->fds[QEMU_FD_QMP], &ret->control_fd, err);
	if (r < 0)
		return r;
	ret->build_id = build_id(place, launch, ret->fds[QEMU_FD_ROOTFS]);
	ret->n_fds = start == QEMU_START_TEMPLATE ? QEMU_FD_TEMPLATE_COUNT : QEMU_FD_COUNT;
	ret->file_mib = disk_file_mib(DISK_FORM_LUKS1, launch->disk_mib);
	qemu_command_fill(ret, launch, start);
	return 0;
}
