/* A microVM as the engine has it: started by a lane in its jail and under its guard, spoken to by the engine's half of the driver, its
 * guest by a channel. Failures fail the test. */
#pragma once

#include <event2/event.h>

#include "tests/support/guest_vm.h"
#include "tests/support/vmm_lane.h"
#include "worker/vmm/control.h"

struct vmm_machine {
	struct event_base *base;
	struct vmm *vmm;
	int guard_fd;
	struct guest_vm guest; /* its channel alone */
	unsigned n_saved, n_restored, n_disks, n_broken;
	struct err err; /* of any of those */
};

/* What else the lane answers is in lane->reply. */
void vmm_machine_start(struct vmm_machine *machine, struct vmm_lane *lane, struct event_base *base, const struct lane_request *request);

/* It is over when its guard says so. */
void vmm_machine_end(struct vmm_machine *machine);

void vmm_machine_save(struct vmm_machine *machine, int state_fd);
void vmm_machine_restore(struct vmm_machine *machine);
void vmm_machine_attach(struct vmm_machine *machine, const struct drive *drive);

/* What is restored in it is no state: the session breaks, once, and the clone does not run. */
void vmm_machine_restore_fails(struct vmm_machine *machine);
