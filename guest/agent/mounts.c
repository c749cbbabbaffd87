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
#include "guest/agent/held_disk.h"
#include "guest/agent/kernel_file.h"

#define SERIAL_IMAGE "root"
#define SERIAL_WORK  "work"

static char work_disk[PATH_MAX]; /* the device, which is there from the start, whatever it holds */

/* noatime, volatile, no barrier: nothing on the disk is meant to survive the VM. */
#define OVERLAY_DATA "lowerdir=" OWN_ROOT ":" IMAGE_ROOT ",upperdir=" DISK "/" WORK_DISK_UPPER ",workdir=" DISK "/" WORK_DISK_OVERLAY ",volatile"

/* The order matters: a line may be mounted on what a line above brought. */
static const struct {
	const char *target, *type;
	unsigned long flags;
	const char *data;
} parts[] = {
	{ PARTS "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible" },
	{ PARTS "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k" },
	{ PARTS "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,max=64" },
	{ PARTS "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777" },
};

/* Of the agent's own root, which is in memory. */
static const char *const folders[] = { IMAGE_ROOT, DISK, DISK_ROOT, PARTS, PARTS "/proc", PARTS "/dev", OWN_ROOT,
				       OWN_ROOT "/proc", OWN_ROOT "/dev", OWN_ROOT "/work" };

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

static int make_own_folders(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdir(folders[i], 0755) < 0 && errno != EEXIST)
			return err_set(err, ERR_HOST, errno, "make %s", folders[i]);
	return 0;
}

static int mount_image(struct err *err)
{
	char path[PATH_MAX];
	int r = find_disk(SERIAL_IMAGE, path, err);

	if (r == 0 && mount(path, IMAGE_ROOT, "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOATIME, NULL) < 0)
		r = err_set(err, ERR_HOST, errno, "mount the disk '" SERIAL_IMAGE "' (erofs)");
	return r;
}

/* The layer's /etc hides that of the image, but for what is in it. An image without one keeps none. */
static int copy_etc(struct err *err)
{
	struct stat etc;

	if (lstat(IMAGE_ROOT "/etc", &etc) < 0 || !S_ISDIR(etc.st_mode))
		return 0;
	if (mkdir(OWN_ROOT "/etc", 0755) < 0 || chown(OWN_ROOT "/etc", etc.st_uid, etc.st_gid) < 0 ||
	    chmod(OWN_ROOT "/etc", etc.st_mode & 07777) < 0)
		return err_set(err, ERR_HOST, errno, "make " OWN_ROOT "/etc");
	return 0;
}

static int make_device(const char *name, unsigned major_number, unsigned minor_number, struct err *err)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), PARTS "/dev/%s", name);
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
		(void)snprintf(path, sizeof(path), PARTS "/dev/%s", links[i].name);
		if (symlink(links[i].target, path) < 0)
			r = err_set(err, ERR_HOST, errno, "make the link %s", path);
	}
	return r;
}

static int make_parts(struct err *err)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		(void)mkdir(parts[i].target, 0755); /* mount() says when it is not there */
		if (mount("none", parts[i].target, parts[i].type, parts[i].flags, parts[i].data) < 0)
			return err_set(err, ERR_HOST, errno, "mount %s (%s)", parts[i].target, parts[i].type);
	}
	r = make_devices(err);
	if (r == 0 && mount(NULL, PARTS "/dev", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NOEXEC | MS_RDONLY, NULL) < 0)
		r = err_set(err, ERR_HOST, errno, "make /dev read-only");
	return r;
}

int mounts_prepare(struct err *err)
{
	int r = make_own_folders(err);

	if (r == 0)
		r = mount_image(err);
	if (r == 0)
		r = copy_etc(err);
	if (r == 0)
		r = make_parts(err);
	if (r == 0)
		r = find_disk(SERIAL_WORK, work_disk, err);
	return r;
}

static int move_part(const char *from, const char *to, struct err *err)
{
	return mount(from, to, NULL, MS_MOVE, NULL) < 0 ? err_set(err, ERR_HOST, errno, "move %s to %s", from, to) : 0;
}

/* /work lies on the disk itself, so that the agent reaches its files without going through what the task mounted
 * over. */
static int bind_work(struct err *err)
{
	if (mount(DISK_WORK, DISK_ROOT "/work", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, DISK_ROOT "/work", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOATIME, NULL) < 0)
		return err_set(err, ERR_HOST, errno, "mount /work");
	return 0;
}

int mounts_make(struct err *err)
{
	int r = 0;

	if (mount(work_disk, DISK, "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "nobarrier") < 0)
		r = err_set(err, ERR_HOST, errno, "mount the disk '" SERIAL_WORK "' (ext4)");
	if (r == 0 && mount("none", DISK_ROOT, "overlay", MS_NOSUID | MS_NODEV | MS_NOATIME, OVERLAY_DATA) < 0)
		r = err_set(err, ERR_HOST, errno, "mount " DISK_ROOT " (overlay)");
	if (r == 0)
		r = move_part(PARTS "/proc", DISK_ROOT "/proc", err);
	if (r == 0)
		r = move_part(PARTS "/dev", DISK_ROOT "/dev", err);
	if (r == 0)
		r = bind_work(err);
	return r;
}

int mounts_make_held(struct err *err)
{
	int r = held_disk_hold(strrchr(work_disk, '/') + 1, err);

	if (r == 0)
		r = mounts_make(err);
	return r < 0 ? r : held_disk_check(err);
}
