#include "host/disk/scratch.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/own.h"

#define LEAST_BYTES (1u << 20) /* less than this is full: the smallest disk takes more as soon as it is used */
#define LOOK_BYTES  65536

static int look_for_room(const char *path, struct err *err)
{
	struct statvfs at;

	if (statvfs(path, &at) < 0)
		return err_set(err, ERR_HOST, errno, "look at the file system of '%s'", path);
	if ((uint64_t)at.f_bavail * at.f_frsize < LEAST_BYTES)
		return err_set(err, ERR_HOST, ENOSPC, "the file system of '%s' is full; make room, or lower disk_mib", path);
	if (at.f_files && !at.f_favail)
		return err_set(err, ERR_HOST, ENOSPC, "the file system of '%s' has no room for another file; make some", path);
	return 0;
}

/* Without a name: nothing to remove, whatever happens. */
static int write_a_little(const char *path, struct err *err)
{
	cleanup_fd int fd = open(path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	uint8_t data[LOOK_BYTES];

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		return 0; /* a file system that has no such files */
	memset(data, 0x5a, sizeof(data)); /* zeros need no room everywhere */
	if (fd < 0 || write(fd, data, sizeof(data)) != (ssize_t)sizeof(data) || fdatasync(fd) < 0)
		return err_set(err, ERR_HOST, errno, "write to the file system of '%s'", path);
	return 0;
}

int scratch_look(const struct host_place *place, struct err *err)
{
	char path[PATH_MAX];
	int r;

	names_scratch_dir(place, path);
	r = look_for_room(path, err);
	if (r == -ENOENT)
		return 0; /* it is made with the first disk */
	return r < 0 ? r : write_a_little(path, err);
}
