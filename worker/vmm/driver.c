#include "worker/vmm/driver.h"

#include <string.h>

static const struct vmm_driver *const vmm_drivers[] = { &vmm_qemu, &vmm_null };

/* Runs nothing: its tasks succeed without having run. */
const struct vmm_driver vmm_null = { .name = "null", .disk = "none", .is_real = false };

const struct vmm_driver *vmm_driver_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(vmm_drivers); i++)
		if (strcmp(vmm_drivers[i]->name, name) == 0)
			return vmm_drivers[i];
	return NULL;
}
