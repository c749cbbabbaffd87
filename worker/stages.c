#include "worker/stages.h"

#include <assert.h>

#define AFTER(stage) (1u << (stage))

/* Forward: a lease first; then the VMM is started, which also finds out whether the image is there; the disk is made while it
 * boots, because booting takes longer than formatting; then the key is handed over, and the guest is spoken to.
 * Backward: the guest is silenced, then the key is destroyed before anything else; the result is told as soon as the key is
 * gone (it says so), while VMM and files are removed; the lease goes last, when nothing carries its name any more. */
const struct stage stages[] = {
	[STAGE_LEASE] = { "lease", 0, AFTER(STAGE_REPORT) | AFTER(STAGE_DISK) | AFTER(STAGE_VMM), stage_lease_start,
			  stage_lease_stop },
	[STAGE_REPORT] = { "report", 0, AFTER(STAGE_KEY), stage_report_start, stage_report_stop },
	[STAGE_DISK] = { "disk", AFTER(STAGE_VMM), AFTER(STAGE_VMM), stage_disk_start, stage_disk_stop },
	[STAGE_VMM] = { "vmm", AFTER(STAGE_LEASE), AFTER(STAGE_KEY), stage_vmm_start, stage_vmm_stop },
	[STAGE_KEY] = { "key", AFTER(STAGE_DISK) | AFTER(STAGE_VMM), AFTER(STAGE_GUEST), stage_key_start,
			stage_key_stop },
	[STAGE_GUEST] = { "guest", AFTER(STAGE_KEY), 0, stage_guest_start, stage_guest_stop },
};
static_assert(sizeof(stages) / sizeof(stages[0]) == STAGE_COUNT, "every stage has its place in the order");
