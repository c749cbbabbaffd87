#include "guest/agent/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

int open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
	int more = flags & O_PATH ? 0 : O_NONBLOCK | O_NOCTTY; /* of what is only looked at nothing is opened */
	const struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW | more),
				      .mode = flags & O_CREAT ? mode : 0,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}
