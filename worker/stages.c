#include "worker/stages.h"

#include <assert.h>

#define AFTER(stage) (1u << (stage))

/* Forward: a lease first; then the VMM is started, which also finds out whether the image is there; the disk is made while it
 * boots, because booting takes longer than formatting; then the key is handed over, and the guest is spoken to.
 * Backward: the guest is silenced and its VMM killed; when that is dead the key is destroyed, which nobody holds any more; only
 * then the result is told (it says so), while the files are removed; the lease goes last, when nothing carries its name any more
 * (docs/decisions/2026-11-28-dead-before-told.md). */
const struct stage stages[] = {
	[STAGE_LEASE] = { "lease", 0, AFTER(STAGE_REPORT) | AFTER(STAGE_DISK), stage_lease_start,
			  stage_lease_stop },
	[STAGE_REPORT] = { "report", 0, AFTER(STAGE_KEY), stage_report_start, stage_report_stop },
	[STAGE_DISK] = { "disk", AFTER(STAGE_VMM), AFTER(STAGE_KEY), stage_disk_start, stage_disk_stop },
	[STAGE_VMM] = { "vmm", AFTER(STAGE_LEASE), AFTER(STAGE_GUEST), stage_vmm_start, stage_vmm_stop },
	[STAGE_KEY] = { "key", AFTER(STAGE_DISK) | AFTER(STAGE_VMM), AFTER(STAGE_VMM), stage_key_start,
			stage_key_stop },
	[STAGE_GUEST] = { "guest", AFTER(STAGE_KEY), 0, stage_guest_start, stage_guest_stop },
};
static_assert(sizeof(stages) / sizeof(stages[0]) == STAGE_COUNT, "every stage has its place in the order");
