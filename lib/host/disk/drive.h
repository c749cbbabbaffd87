/* What a VMM is given as its disk. Which it is follows from the disk's form (enum disk_form): who decrypts it. */
#pragma once

#include <stdint.h>

#include "base/own.h"
#include "base/secret.h"

#define DISK_KEY_BYTES 64 /* hex text of a 256-bit keyslot secret */

enum drive_kind {
	DRIVE_NONE,
	DRIVE_FILE, /* an encrypted file: the VMM decrypts it and needs its key */
	DRIVE_NODE, /* a block device: the host decrypts it, and the VMM never has the key */
	DRIVE_COUNT
};

struct drive {
	enum drive_kind kind;
	int fd; /* of the file or the device, read-write; owned; valid unless DRIVE_NONE */
	union {
		struct {
			struct secret *key; /* owned; NULL once it was handed over and is not needed again */
		} file;
		struct {
			uint32_t major, minor; /* for a VMM that wants a node in its jail instead of a descriptor */
		} node;
	} of;
};

/* Closes, wipes, forgets. Fine when there is none. */
static inline void drive_clear(struct drive *drive)
{
	if (drive->kind != DRIVE_NONE)
		close_fd(&drive->fd);
	if (drive->kind == DRIVE_FILE)
		secret_free(TAKE_PTR(drive->of.file.key));
	drive->kind = DRIVE_NONE;
}
