/* What a form of disks has to do: a file of its own, with a row for disk.c. All of it blocks, as root. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "host/disk/drive.h"
#include "host/names.h"

struct disk_form_ops {
	const char *name;      /* as in results: isolation.disk */
	unsigned overhead_mib; /* of the file under it, beyond the disk's size; 0 where a VMM writes to no file */

	/* A new disk of that size class, filled with the empty file system of blank.h. It is found and erased by its name from the
	 * first byte on. -EEXIST with ERR_BUG: a vm_id is used once. */
	int (*format)(const struct host_place *place, const char *vm_id, unsigned class_mib, struct drive *ret, struct err *err);

	/* As those of disk.h; fine when there is no disk of this form. */
	int (*destroy_key)(const struct host_place *place, const char *vm_id, bool *ret_is_gone, struct err *err);
	int (*erase)(const struct host_place *place, const char *vm_id, struct err *err);
	int (*each)(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err);
};

extern const struct disk_form_ops disk_form_luks1;
