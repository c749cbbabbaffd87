/* Disks of workspaces: a LUKS1 volume in a backing file, made by libcryptsetup in user space before any VMM has it, opened by
 * QEMU itself.
 * Blocking; every call is idempotent where its comment says so. Callers are the disk lane and the reaper's lane. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "host/names.h"

#define DISK_LARGEST_MIB 8192 /* the largest size class */
#define DISK_KEY_BYTES 64     /* hex text of a 256-bit keyslot secret */

enum disk_form {
	DISK_FORM_NONE,  /* never asked for: what was not filled in is no form */
	DISK_FORM_LUKS1, /* a file in LUKS1, which the VMM opens itself */
	DISK_FORM_COUNT
};

/* Sizes that exist prebuilt: a disk gets the smallest that is >= disk_mib. 0 when disk_mib is beyond the largest. */
unsigned disk_size_class_mib(unsigned disk_mib);

/* Of the backing file of such a disk, LUKS header included. */
unsigned disk_file_mib(unsigned disk_mib);

/* Make the prebuilt empty ext4 images that are missing below <state_dir>/blank (mkfs.ext4, non-sparse: a hole would
 * decrypt to noise). Called when a worker starts; safe against a second one doing the same. Takes a second, on a slow host many. */
int disk_prepare_blanks(const struct host_place *place, struct err *err);

/* Make the volume of workspace `id`: random 512-bit volume key, one keyslot whose secret is 256 random bits as hex text
 * (*ret_key, DISK_KEY_BYTES long), an empty ext4 written through the encryption. *ret_fd: the backing file, read-write.
 * Fails with ERR_BUSY when a disk of that name exists. */
int disk_format(const struct host_place *place, const char *id, unsigned disk_mib, struct secret **ret_key, int *ret_fd,
		struct err *err);

/* Overwrite the header and all key material, synced to the device, and read back that exactly this is there now. Nothing in the
 * file is parsed: its VMM could write to it. *ret_is_gone: it was seen, in a file that still had its key area. That holds from then
 * on if no VMM has the file open any more, so end that first. Fine when there is no disk (*ret_is_gone = false). */
int disk_destroy_key(const struct host_place *place, const char *id, bool *ret_is_gone, struct err *err);

/* disk_destroy_key() if that was not done, then remove the name, whatever was found there and however that went (a failure is
 * logged). Fine when there is no disk. Fails only when the name is still there. */
int disk_erase(const struct host_place *place, const char *id, struct err *err);
