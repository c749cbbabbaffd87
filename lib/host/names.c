#include "host/names.h"

#include <stdio.h>

/* Every part is bounded (state_dir is PATH_MAX / 2, ids 64), so nothing here can be cut. */

void names_scratch_dir(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/scratch", place->state_dir);
}

void names_disk(const struct host_place *place, const char *id, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/scratch/%s" NAMES_DISK_SUFFIX, place->state_dir, id);
}

void names_images_dir(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/images", place->state_dir);
}

void names_kernel(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/kernel/vmlinux", place->state_dir);
}

void names_initrd(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/kernel/initrd.cpio", place->state_dir);
}

void names_jail_root(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/jail", place->state_dir);
}

void names_blank_dir(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/blank", place->state_dir);
}

void names_blank(const struct host_place *place, unsigned mib, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/blank/%u.ext4", place->state_dir, mib);
}

void names_cgroup(const struct host_place *place, const char *id, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "mayfly.%s/" NAMES_CGROUP_PREFIX "%s", place->host, id);
}

void names_cgroup_parent(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "mayfly.%s", place->host);
}
