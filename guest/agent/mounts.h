/* The file systems of the VM: the image (read-only) under an overlay on the encrypted disk, and the task's view of it.
 *
 * What does not need the disk is made before there is one, aside, and only moved into its place then: a clone finds it
 * made. Between image and disk lies a layer of the VM's own, OWN_ROOT: places that every task's root has, and the files
 * that say which machine this is (setup.h).
 *
 * Disks are known by the serial number that the VMM gave them, never by their order. */
#pragma once

#include "base/err.h"
#include "wire/work_disk.h"

#define DISK	  "/disk"
#define DISK_WORK DISK "/" WORK_DISK_WORK /* the task's /work, as the agent sees it */
#define DISK_ROOT "/task"      /* the task's /, as the agent sees it */
#define IMAGE_ROOT "/image"
#define OWN_ROOT  "/own"       /* in memory, and of this VM alone */
#define PARTS     "/parts"     /* the task's /proc and /dev, until there is a root to put them in */
#define TASK_UID  WORK_DISK_UID
#define TASK_GID  WORK_DISK_UID

/* All that needs no disk; once. */
int mounts_prepare(struct err *err);

/* Then the disk, and everything below DISK_ROOT; once. */
int mounts_make(struct err *err);

/* That in a template (held_disk.h). A clone then has it when held_disk_check() says so. */
int mounts_make_held(struct err *err);
