/* Can disks be made and written here? What a VMM says about that is its own affair; this is the host's own look. */
#pragma once

#include "base/err.h"
#include "host/names.h"

/* ERR_HOST: the file system of <state_dir>/scratch is full for who is not root, or does not take a write. Leaves nothing. Blocking. */
int scratch_look(const struct host_place *place, struct err *err);
