/* The backends that there are. */
#pragma once

#include "worker/workspace/backend.h"

/* NULL: there is none of that name. */
const struct backend *backend_find(const char *name);

/* Memory that a workspace takes beside its guest's own: the VMM's. */
uint32_t backend_overhead_mib(const struct backend *backend);

/* May as much memory be locked as the secrets of so many slots take? Now, and not with a task in hand. */
int backend_try_room(const struct backend *backend, size_t slots, struct err *err);
