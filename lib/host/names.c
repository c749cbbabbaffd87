#include "host/names.h"

#include <inttypes.h>
#include <stdio.h>

/* Every part is bounded (state_dir is PATH_MAX / 2, ids 64), so nothing here can be cut. */

void names_place(const char *host, const char *state_dir, struct host_place *ret)
{
	(void)snprintf(ret->host, sizeof(ret->host), "%.*s", IDENT_ID_MAX, host);
	(void)snprintf(ret->state_dir, sizeof(ret->state_dir), "%s", state_dir);
}

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
	(void)snprintf(out, PATH_MAX, "%s/blank/work-%u.ext4", place->state_dir, mib);
}

void names_cgroup(const struct host_place *place, const char *id, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "mayfly.%s/" NAMES_CGROUP_PREFIX "%s", place->host, id);
}

void names_cgroup_parent(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "mayfly.%s", place->host);
}

void names_probe(uint64_t deadline_boot_ms, int pid, char out[NAMES_PROBE_MAX])
{
	(void)snprintf(out, NAMES_PROBE_MAX, "_probe-%" PRIu64 "-%d", deadline_boot_ms, pid);
}

bool names_is_probe(const char *id, uint64_t *ret_deadline_boot_ms)
{
	int pid, end = 0;

	return sscanf(id, "_probe-%" SCNu64 "-%d%n", ret_deadline_boot_ms, &pid, &end) == 2 && end > 0 && id[end] == '\0';
}
