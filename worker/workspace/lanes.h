/* What the stages of a workspace ask of the lanes by its vm_id alone. For the files of this folder. */
#pragma once

#include "worker/workspace/workspace.h"

/* VM_DESTROY, DISK_DESTROY_KEY or DISK_ERASE. 0, or -ENOMEM: then fn never runs. */
int lanes_ask(struct workspace *workspace, struct lane_client *lane, enum lane_op op, lane_client_fn fn);
