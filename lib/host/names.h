/* The one place that names what is made for a workspace on a host, from the workspace's id, so that the worker's unwind,
 * the reaper's erase and an audit find the same things; and what all workspaces of a host share. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ident.h"

#define NAMES_DISK_SUFFIX ".luks"
#define NAMES_ROOTFS "rootfs.erofs" /* in an image's folder */
#define NAMES_PROGRAMS "programs"   /* beside it: what is in its PATH, a name a line */

/* Where this host's objects live. `host` separates stacks that share a machine (a test beside a fleet). */
struct host_place {
	char host[IDENT_ID_MAX + 1];
	char state_dir[PATH_MAX / 2]; /* absolute */
};

void names_place(const char *host, const char *state_dir, struct host_place *ret);

/* <state_dir>/scratch: backing files of disks; <state_dir>/scratch/<id>.luks */
void names_scratch_dir(const struct host_place *place, char out[PATH_MAX]);
void names_disk(const struct host_place *place, const char *id, char out[PATH_MAX]);

/* <state_dir>/images, which holds <image>/rootfs.erofs; <state_dir>/kernel/{vmlinux,initrd.cpio}, <state_dir>/jail: read-only root of the
 * VMM's jail; <state_dir>/blank/<mib>.ext4: prebuilt empty file systems */
void names_images_dir(const struct host_place *place, char out[PATH_MAX]);
void names_kernel(const struct host_place *place, char out[PATH_MAX]);
void names_initrd(const struct host_place *place, char out[PATH_MAX]);
void names_jail_root(const struct host_place *place, char out[PATH_MAX]);
void names_blank_dir(const struct host_place *place, char out[PATH_MAX]);
void names_blank(const struct host_place *place, unsigned mib, char out[PATH_MAX]);

/* cgroup path below a controller's mount: mayfly.<host>/vm-<id>; and the parent, mayfly.<host>. No control file has the prefix:
 * "tasks" is a fine id. */
#define NAMES_CGROUP_PREFIX "vm-"
void names_cgroup(const struct host_place *place, const char *id, char out[PATH_MAX]);
void names_cgroup_parent(const struct host_place *place, char out[PATH_MAX]);

/* The id of a microVM that is no workspace's, and only shows whether a guest starts here: _probe-<deadline>-<pid>. It is no ident, so
 * that no workspace can have it; and it says when it is over at the latest, on CLOCK_BOOTTIME, so that what is left of it is known
 * for that by anybody (vm_remove_old_probes()). */
#define NAMES_PROBE_MAX 64
void names_probe(uint64_t deadline_boot_ms, int pid, char out[NAMES_PROBE_MAX]);

/* False: `id` is none of those. */
bool names_is_probe(const char *id, uint64_t *ret_deadline_boot_ms);
