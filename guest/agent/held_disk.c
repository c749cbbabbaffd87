#include "guest/agent/held_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

#define WRITEBACK	       "/proc/sys/vm/dirty_writeback_centisecs"
/* An hour. Not 0: a disk that becomes dirty is looked at after this time, and one that was never written before is written at once. */
#define LONG_CENTISECS	       "360000"
#define SUPERBLOCK_SECTORS_MAX 16 /* it is written in blocks of 4 KiB, once or twice in a mount */

/* Open from the template on: to find them again by their names costs a clone milliseconds. */
static struct {
	int writeback_fd, stat_fd;
	char interval[32]; /* the kernel's own */
} held = { .writeback_fd = -1, .stat_fd = -1 };

static int write_interval(const char *text, struct err *err)
{
	size_t len = strlen(text);

	if (pwrite(held.writeback_fd, text, len, 0) != (ssize_t)len)
		return err_set(err, ERR_HOST, errno, "write " WRITEBACK);
	return 0;
}

int held_disk_hold(const char *device, struct err *err)
{
	char path[PATH_MAX];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/stat", device);
	held.stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	held.writeback_fd = open(WRITEBACK, O_RDWR | O_CLOEXEC);
	if (held.stat_fd < 0 || held.writeback_fd < 0)
		return err_set(err, ERR_HOST, errno, "open %s", held.stat_fd < 0 ? path : WRITEBACK);
	n = pread(held.writeback_fd, held.interval, sizeof(held.interval) - 1, 0);
	if (n <= 0)
		return err_set(err, ERR_HOST, errno, "read " WRITEBACK);
	return write_interval(LONG_CENTISECS, err);
}

/* The seventh number counts sectors (Documentation/block/stat.rst). */
int held_disk_check(struct err *err)
{
	uint64_t sectors = UINT64_MAX;
	char text[256];
	ssize_t n = pread(held.stat_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	(void)sscanf(text, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors); /* else it is too much, too */
	if (sectors > SUPERBLOCK_SECTORS_MAX)
		return err_set(err, ERR_HOST, 0, "the template wrote %" PRIu64 " sectors to its disk, which this disk does not have", sectors);
	return 0;
}

void held_disk_release(void)
{
	struct err err;

	if (held.writeback_fd >= 0)
		(void)write_interval(held.interval, &err); /* without it the kernel writes when memory is short */
	close_fd(&held.stat_fd);
	close_fd(&held.writeback_fd);
}
