/* The file systems of the VM: the image (read-only) under an overlay on the encrypted disk, and the task's view of it.
 *
 * Disks are known by the serial number that the VMM gave them, never by their order. */
#pragma once

#include "base/err.h"

#define DISK_WORK "/disk/work" /* the task's /work, as the agent sees it */
#define DISK_ROOT "/task"      /* the task's /, as the agent sees it */
#define TASK_UID  1000
#define TASK_GID  1000

/* Mount the image, read-only, at /image. */
int mounts_make_image(struct err *err);

/* Then the disk, and everything below DISK_ROOT. */
int mounts_make(struct err *err);
