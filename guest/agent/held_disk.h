/* A disk that is mounted before it is there. Mounting a new disk costs a guest more than all the rest of its start, and all new disks are
 * the same, block by block (wire/work_disk.h): so a template mounts one of them, and what that changed stays in its memory. In a clone
 * the memory and the clone's own new disk are one file system again, as long as of all changes none but the superblock, which says
 * nothing that the next writing of it does not say, went to the template's disk and is missing on the clone's.
 *
 * The kernel therefore writes nothing back from before the mount until the clone has its disk, and what was written is counted. */
#pragma once

#include "base/err.h"

/* Before the mount. `device` is a name in /dev. */
int held_disk_hold(const char *device, struct err *err);

/* After the mount, in the template: was nothing but superblocks written? */
int held_disk_check(struct err *err);

/* The disk is there, and this was seen again: the kernel may write, whenever there is time to tell it. Fine when none is held. */
void held_disk_release(void);
