#include "lane/workspaces.h"

#include "base/log.h"
#include "host/disk/disk.h"
#include "host/vm.h"

int workspaces_each(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err)
{
	int r = disk_each(place, visit, ctx, err);
	int vm_r;

	if (r > 0)
		return r;
	vm_r = vm_each(place, visit, ctx, err); /* also when there are disks that cannot be listed */
	return vm_r ? vm_r : r;
}

void workspaces_remove_old_probes(const struct host_place *place)
{
	struct err err;

	if (vm_remove_old_probes(place, &err) < 0)
		log_error("lane.probe", "message=\"%s\"", err.msg);
}
