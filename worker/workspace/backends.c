#include "worker/workspace/backends.h"

#include <string.h>

#include "base/own.h"
#include "base/secret.h"
#include "lane/launcher.h"
#include "worker/vmm/control.h"
#include "worker/workspace/exec_private.h"
#include "worker/workspace/stages.h"

static const struct backend backends[] = {
	{
		.name = "qemu",
		.disk = "luks1",
		.starts = { [WORKSPACE_START_COLD] = { workspace_stages_cold, LAUNCHER_QEMU },
			    [WORKSPACE_START_CLONE] = { workspace_stages_clone, LAUNCHER_QEMU_CLONE },
			    [WORKSPACE_START_TEMPLATE] = { workspace_stages_template, LAUNCHER_QEMU_TEMPLATE } },
		.control = &vmm_control_qemu,
		.disk_form = DISK_FORM_LUKS1,
		.transport = &exec_in_guest,
		.secrets_per_slot = 2,
	},
	{ .name = "null", .disk = "none", .transport = &exec_nowhere },
};

const struct backend *backend_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (strcmp(backends[i].name, name) == 0)
			return &backends[i];
	return NULL;
}

uint32_t backend_overhead_mib(const struct backend *backend)
{
	const struct launcher *launcher = launcher_of(backend->starts[WORKSPACE_START_COLD].launcher);

	return launcher ? launcher->jail->overhead_mib : 0;
}

int backend_try_room(const struct backend *backend, size_t slots, struct err *err)
{
	if (secret_try_room(backend->secrets_per_slot * slots, err) == 0)
		return 0;
	return err_wrap(err, "room for the keys of %zu slots", slots);
}
