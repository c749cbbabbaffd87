/* Disks of workspaces, whatever their form. Who destroys one need not know its form: all are tried, and are fine with nothing being
 * there. What is made and found is named in host/names.c.
 * Blocking; every call is idempotent where its comment says so. Callers are the lanes, and the end of a private stack. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "host/disk/blank.h"
#include "host/disk/drive.h"
#include "host/names.h"

enum disk_form {
	DISK_FORM_NONE,  /* never asked for: what was not filled in is no form */
	DISK_FORM_LUKS1, /* a file in LUKS1, which the VMM opens itself */
	DISK_FORM_COUNT
};

/* Of the file under such a disk, in MiB; 0 where a VMM writes to no file. */
unsigned disk_file_mib(enum disk_form form, unsigned disk_mib);

/* Make the volume of workspace `vm_id`: encrypted with a random key, with an empty ext4 in it. *ret: the caller's. ERR_INPUT: it is
 * too large; -EEXIST with ERR_BUG: there is one of that name, which is nobody's to use twice. */
int disk_format(const struct host_place *place, enum disk_form form, const char *vm_id, unsigned disk_mib, struct drive *ret,
		struct err *err);

/* Destroy the key of whatever disk it has. *ret_is_gone: it was seen, where there was one. That holds from then on if no VMM has
 * the disk open any more, so end that first. Fine when there is no disk (*ret_is_gone = false). */
int disk_destroy_key(const struct host_place *place, const char *vm_id, bool *ret_is_gone, struct err *err);

/* disk_destroy_key() if that was not done, then remove the name, whatever was found there and however that went (a failure is
 * logged). Fine when there is no disk. Fails only when a name is still there. */
int disk_erase(const struct host_place *place, const char *vm_id, struct err *err);

/* Every workspace of which there is a disk on this host. `visit` answers 0 to go on. */
int disk_each(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err);
