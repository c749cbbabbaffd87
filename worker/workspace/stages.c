#include "worker/workspace/stages.h"

#include <assert.h>
#include <stddef.h>

#include "base/own.h"

#define AFTER(stage) (1u << WORKSPACE_STAGE_##stage)

/* Forward: the VMM first, which also finds out whether the image is there; the disk is made while the guest boots, because booting
 * takes longer than formatting; then the volume is handed over, and the guest mounts it.
 * Backward: the guest is silenced and its VMM killed; when that is dead the key is destroyed, which nobody holds any more; the files
 * go last, while the owner already tells (docs/decisions/2026-11-28-dead-before-told.md). */
const struct stage workspace_stages_cold[WORKSPACE_STAGE_COUNT] = {
	[WORKSPACE_STAGE_VMM] = { "vmm", 0, AFTER(BOOT), stage_vmm_start, stage_vmm_stop, NULL },
	[WORKSPACE_STAGE_DISK] = { "disk", AFTER(VMM), AFTER(KEY), stage_disk_start, stage_disk_stop, NULL },
	[WORKSPACE_STAGE_BOOT] = { "boot", AFTER(VMM), AFTER(GUEST), stage_boot_start, stage_boot_stop, NULL },
	[WORKSPACE_STAGE_KEY] = { "key", AFTER(DISK) | AFTER(VMM), AFTER(VMM), stage_key_start, stage_key_stop, NULL },
	[WORKSPACE_STAGE_GUEST] = { "guest", AFTER(BOOT) | AFTER(KEY), 0, stage_guest_start, stage_guest_stop, stage_guest_tick },
};

/* A clone goes on where its template was saved, sooner than a disk is made: that begins at once. */
const struct stage workspace_stages_clone[WORKSPACE_STAGE_COUNT] = {
	[WORKSPACE_STAGE_VMM] = { "vmm", 0, AFTER(BOOT), stage_vmm_start, stage_vmm_stop, NULL },
	[WORKSPACE_STAGE_DISK] = { "disk", 0, AFTER(KEY), stage_disk_start, stage_disk_stop, NULL },
	[WORKSPACE_STAGE_BOOT] = { "boot", AFTER(VMM), AFTER(GUEST), stage_boot_restore, stage_boot_stop, NULL },
	[WORKSPACE_STAGE_KEY] = { "key", AFTER(DISK) | AFTER(BOOT), AFTER(VMM), stage_key_start, stage_key_stop, NULL },
	[WORKSPACE_STAGE_GUEST] = { "guest", AFTER(BOOT) | AFTER(KEY), 0, stage_guest_start, stage_guest_stop, stage_guest_tick },
};

/* A template never has a disk, a key or a task. */
const struct stage workspace_stages_template[WORKSPACE_STAGE_COUNT] = {
	[WORKSPACE_STAGE_VMM] = { "vmm", 0, AFTER(BOOT), stage_vmm_start, stage_vmm_stop, NULL },
	[WORKSPACE_STAGE_BOOT] = { "boot", AFTER(VMM), AFTER(WARM), stage_boot_start, stage_boot_stop, NULL },
	[WORKSPACE_STAGE_WARM] = { "warm", AFTER(BOOT), AFTER(SAVE), stage_warm_start, stage_warm_stop, stage_guest_tick },
	[WORKSPACE_STAGE_SAVE] = { "save", AFTER(WARM), 0, stage_save_start, stage_save_stop, NULL },
};
