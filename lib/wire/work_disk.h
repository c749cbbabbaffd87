/* What is on a VM's disk when it is new: an ext4 with these folders. The host makes it so, the agent in the VM mounts them and makes
 * nothing: on a disk that nothing was read from yet each folder would cost it as much as all its other mounts together. */
#pragma once

#define WORK_DISK_UPPER	  "upper"   /* what the task's root has beyond its image (an overlay's upperdir) */
#define WORK_DISK_OVERLAY "overlay" /* the overlay's workdir */
#define WORK_DISK_WORK	  "work"    /* the task's /work, and its own */
#define WORK_DISK_UID	  1000      /* of a task in its VM; so is the group */
