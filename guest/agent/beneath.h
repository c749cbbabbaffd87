/* Opening paths below the task's /work: openat2(2) with every way out closed. The task may have put anything there. */
#pragma once

#include <sys/types.h>

/* A descriptor, or a negative errno. `path` is relative; -ELOOP when it meets a symbolic link, -EXDEV when it leaves.
 * With O_PATH a link in the last place is opened itself. */
int open_beneath(int dir_fd, const char *path, int flags, mode_t mode);
