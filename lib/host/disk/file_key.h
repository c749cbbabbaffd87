/* A disk that is a file below <state_dir>/scratch, whose first KEY_AREA_BYTES hold what its key is made of: how that is destroyed,
 * and how such files are removed and found. Blocking. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "host/names.h"

#define KEY_AREA_BYTES (256 * 1024)

/* Overwrite the key area, synced to the device, and read back that exactly this is there now. Nothing in the file is parsed. As
 * disk_destroy_key(). `vm_id` is for the log. */
int file_key_destroy(const char *path, const char *vm_id, bool *ret_is_gone, struct err *err);

/* As disk_erase(). */
int file_key_erase(const char *path, const char *vm_id, struct err *err);

/* Every <vm_id><suffix> in the folder of scratch files. `visit` answers 0 to go on. */
int file_key_each(const struct host_place *place, const char *suffix, int (*visit)(void *ctx, const char *vm_id), void *ctx,
		  struct err *err);
