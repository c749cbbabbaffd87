/* A workspace that was made ahead of any task gets its owner. */
#pragma once

#include "worker/workspace/workspace.h"

/* Of one that is READY and that no lease names, in which no program ever ran: it becomes somebody else's, as if made for this plan. Its
 * time-to-live and its guard's deadline begin anew, its guest's clock is set again, and what it took so far counts for nothing. The plan
 * differs from the one before only in ttl_ms, use_ms, owner_id and has_no_lease. on_ready follows, of the new events. ERR_BUSY: its guard,
 * or its guest, cannot be told; then it is still the old owner's, who should end it. */
int workspace_adopt(struct workspace *workspace, const struct workspace_plan *plan, const struct workspace_events *events, void *ctx,
		    struct err *err);
