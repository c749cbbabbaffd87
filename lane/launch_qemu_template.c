/* QEMU that boots a kernel in memory which is to be cloned. The engine gets the memory, and room for the state that is saved there; it
 * seals both when this VM is dead. The guest mounts a copy of the blank disk that its clones' disks are made of; nobody but QEMU has that
 * copy, and it is gone with it. */
#include <fcntl.h>

#include "base/own.h"
#include "host/disk/disk.h"
#include "host/sealed.h"
#include "lane/qemu_parts.h"

static int plan(const struct host_place *place, const struct launch *launch, struct launch_plan *ret, struct err *err)
{
	int r = qemu_open_kernel(place, ret->fds, err);

	if (r == 0)
		r = sealed_memory_new("template", (uint64_t)launch->memory_mib << 20, &ret->fds[QEMU_FD_TEMPLATE_MEMORY], err);
	if (r == 0)
		r = sealed_memory_new("template-state", 0, &ret->state_fd, err);
	if (r == 0)
		r = qemu_plan_common(place, launch, QEMU_START_TEMPLATE, ret, err);
	if (r == 0) /* after the digest: a blank that is replaced in between makes a template that is stale, not one that is wrong */
		r = disk_copy_blank(place, disk_size_class_mib(launch->disk_mib), &ret->fds[QEMU_FD_TEMPLATE_DISK], err);
	if (r < 0)
		return r;
	ret->file_mib = LAUNCH_STATE_MAX_MIB; /* of its disk nothing is written but the superblock (guest/agent/held_disk.h) */
	ret->memory_fd = fcntl(ret->fds[QEMU_FD_TEMPLATE_MEMORY], F_DUPFD_CLOEXEC, 0);
	return ret->memory_fd < 0 ? err_set(err, ERR_HOST, errno, "a descriptor of a template's memory") : 0;
}

const struct launcher launcher_qemu_template = {
	.name = "qemu-template",
	.jail = &jail_profile_qemu,
	.control = LAUNCHER_CONTROL_QMP,
	.guest = LAUNCHER_GUEST_SERIAL,
	.plan = plan,
};
