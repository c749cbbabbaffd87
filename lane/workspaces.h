/* What workspaces have left on this host. */
#pragma once

#include "base/err.h"
#include "host/names.h"

/* Every workspace of which anything is on this host: a control group or a disk. `visit` answers 0 to go on. Where one kind
 * cannot be listed, the other is, before the failure is answered. */
int workspaces_each(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err);

/* What is left of probes (vm_remove_old_probes()): they have no lease that anybody could ask about. One that does not die is logged. */
void workspaces_remove_old_probes(const struct host_place *place);
