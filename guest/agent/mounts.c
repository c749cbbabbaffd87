#include "guest/agent/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/kernel_file.h"

#define SERIAL_IMAGE "root"
#define SERIAL_WORK  "work"

/* ro: nothing writes to the image. noatime, volatile, no barrier: nothing on this disk is meant to survive the VM. The
 * order matters: a line may be mounted on what a line above brought. */
static const struct {
	const char *target, *type;
	unsigned long flags;
	const char *data;
} views[] = {
	{ DISK_ROOT, "overlay", MS_NOSUID | MS_NODEV | MS_NOATIME,
	  "lowerdir=/image,upperdir=/disk/upper,workdir=/disk/overlay,volatile" },
	{ DISK_ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible" },
	{ DISK_ROOT "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k" },
	{ DISK_ROOT "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,max=64" },
	{ DISK_ROOT "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777" },
};

static const struct {
	const char *name;
	unsigned major, minor;
} devices[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct {
	const char *target, *name;
} links[] = {
	{ "/proc/self/fd", "fd" },	 { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
	{ "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
};

static bool has_serial(const char *disk, const char *serial)
{
	char path[PATH_MAX], text[64] = "";

	(void)snprintf(path, sizeof(path), "/sys/block/%s/serial", disk);
	return read_file(path, text, sizeof(text)) == 0 && strcmp(text, serial) == 0;
}

static int find_disk(const char *serial, char out[PATH_MAX], struct err *err)
{
	DIR *dir = opendir("/sys/block");
	struct dirent *entry = NULL;

	if (!dir)
		return err_set(err, ERR_HOST, errno, "list the disks");
	while ((entry = readdir(dir)) && !has_serial(entry->d_name, serial))
		;
	if (entry)
		(void)snprintf(out, PATH_MAX, "/dev/%s", entry->d_name);
	(void)closedir(dir);
	return entry ? 0 : err_set(err, ERR_HOST, ENODEV, "find the disk with the serial number '%s'", serial);
}

static int mount_disk(const char *serial, const char *target, const char *type, unsigned long flags, const char *data,
		      struct err *err)
{
	char path[PATH_MAX];
	int r = find_disk(serial, path, err);

	if (r < 0)
		return r;
	(void)mkdir(target, 0755); /* mount() says when it is not there */
	if (mount(path, target, type, flags, data) < 0)
		return err_set(err, ERR_HOST, errno, "mount the disk '%s' (%s)", serial, type);
	return 0;
}

static int make_folder(const char *path, mode_t mode, uid_t uid, struct err *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_set(err, ERR_HOST, errno, "make %s", path);
	if (chown(path, uid, uid) < 0 || chmod(path, mode) < 0)
		return err_set(err, ERR_HOST, errno, "hand over %s", path);
	return 0;
}

static int make_folders(struct err *err)
{
	int r = make_folder("/disk/upper", 0755, 0, err);

	if (r == 0)
		r = make_folder("/disk/overlay", 0700, 0, err);
	if (r == 0)
		r = make_folder(DISK_WORK, 0755, TASK_UID, err);
	if (r == 0)
		r = make_folder(DISK_ROOT, 0755, 0, err);
	return r;
}

static int make_device(const char *name, unsigned major_number, unsigned minor_number, struct err *err)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), DISK_ROOT "/dev/%s", name);
	if (mknod(path, S_IFCHR | 0666, makedev(major_number, minor_number)) < 0 || chmod(path, 0666) < 0)
		return err_set(err, ERR_HOST, errno, "make the device '%s'", name);
	return 0;
}

static int make_devices(struct err *err)
{
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(devices); i++)
		r = make_device(devices[i].name, devices[i].major, devices[i].minor, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++) {
		(void)snprintf(path, sizeof(path), DISK_ROOT "/dev/%s", links[i].name);
		if (symlink(links[i].target, path) < 0)
			r = err_set(err, ERR_HOST, errno, "make the link %s", path);
	}
	return r;
}

static int mount_views(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		(void)mkdir(views[i].target, 0755); /* mount() says when it is not there */
		if (mount("none", views[i].target, views[i].type, views[i].flags, views[i].data) < 0)
			return err_set(err, ERR_HOST, errno, "mount %s (%s)", views[i].target, views[i].type);
	}
	return 0;
}

/* /work lies on the disk itself, so that the agent reaches its files without going through what the task mounted
 * over. */
static int bind_work(struct err *err)
{
	(void)mkdir(DISK_ROOT "/work", 0755); /* mount() says when it is not there */
	if (mount(DISK_WORK, DISK_ROOT "/work", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, DISK_ROOT "/work", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOATIME, NULL) < 0)
		return err_set(err, ERR_HOST, errno, "mount /work");
	if (mount(NULL, DISK_ROOT "/dev", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NOEXEC | MS_RDONLY, NULL) < 0)
		return err_set(err, ERR_HOST, errno, "make /dev read-only");
	return 0;
}

int mounts_make_image(struct err *err)
{
	return mount_disk(SERIAL_IMAGE, "/image", "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOATIME, NULL, err);
}

int mounts_make(struct err *err)
{
	int r = mount_disk(SERIAL_WORK, "/disk", "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "nobarrier", err);
	if (r == 0)
		r = make_folders(err);
	if (r == 0)
		r = mount_views(err);
	if (r == 0)
		r = make_devices(err);
	if (r == 0)
		r = bind_work(err);
	return r;
}
