#include "base/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool was_closed[STDERR_FILENO + 1];

int std_fds_fill(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		was_closed[fd] = true;
		if (open("/dev/null", O_RDWR) != fd) /* without O_CLOEXEC; the lowest number that is free is this one */
			return -errno;
	}
	return 0;
}

bool std_fds_was_closed(int fd)
{
	return fd >= STDIN_FILENO && fd <= STDERR_FILENO && was_closed[fd];
}
