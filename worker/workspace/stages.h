/* The stages of a workspace and their order, for each way to start one: the one place that knows it. For the files of this folder. */
#pragma once

#include "worker/workspace/workspace.h"

extern const struct stage workspace_stages_cold[WORKSPACE_STAGE_COUNT], workspace_stages_clone[WORKSPACE_STAGE_COUNT],
	workspace_stages_template[WORKSPACE_STAGE_COUNT];

void stage_vmm_start(struct workspace *workspace);
void stage_vmm_stop(struct workspace *workspace);
void stage_disk_start(struct workspace *workspace);
void stage_disk_stop(struct workspace *workspace);
void stage_key_start(struct workspace *workspace);
void stage_key_stop(struct workspace *workspace);
void stage_boot_start(struct workspace *workspace);
void stage_boot_stop(struct workspace *workspace);
void stage_boot_restore(struct workspace *workspace); /* of a clone, instead */
void stage_guest_start(struct workspace *workspace);
void stage_guest_stop(struct workspace *workspace);

void stage_warm_start(struct workspace *workspace);
void stage_warm_stop(struct workspace *workspace);
void stage_save_start(struct workspace *workspace);
void stage_save_stop(struct workspace *workspace);
/* The guard's deadline becomes that of another plan, from now on. */
int stage_vmm_adopt(struct workspace *workspace, const struct workspace_plan *plan, struct err *err);

/* What a VMM says, for the stage that it concerns. */
void stage_key_on_disk(void *ctx, const struct err *err);
void stage_disk_on_io_error(void *ctx);
void stage_boot_on_restored(void *ctx, const struct err *err);
void stage_save_on_saved(void *ctx, const struct err *err);

/* Of the guest's times: from the start of the VMM to READY. */
uint64_t stage_guest_longest_ms(const struct workspace *workspace);
void stage_guest_give_time_to_save(struct workspace *workspace);
void stage_guest_tick(struct workspace *workspace, uint64_t now_mono_ms);
