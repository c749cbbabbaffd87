/* QEMU that boots a kernel, in memory of its own. */
#include "lane/qemu_parts.h"

static int plan(const struct host_place *place, const struct launch *launch, struct launch_plan *ret, struct err *err)
{
	int r = qemu_open_kernel(place, ret->fds, err);

	return r < 0 ? r : qemu_plan_common(place, launch, QEMU_START_COLD, ret, err);
}

const struct launcher launcher_qemu = {
	.name = "qemu",
	.jail = &jail_profile_qemu,
	.control = LAUNCHER_CONTROL_QMP,
	.guest = LAUNCHER_GUEST_SERIAL,
	.plan = plan,
};
