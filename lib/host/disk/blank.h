/* Prebuilt empty file systems, one for each size that a disk may have: what a new disk is filled with. Blocking. */
#pragma once

#include "base/err.h"
#include "host/names.h"

#define DISK_LARGEST_MIB 8192 /* the largest size class */

/* Sizes that exist prebuilt: a disk gets the smallest that is >= disk_mib. 0 when disk_mib is beyond the largest. */
unsigned disk_size_class_mib(unsigned disk_mib);

/* Make `path`, a file of the wanted size, an empty ext4 with the folders of wire/work_disk.h. Another call at a time, in the same folder,
 * is the caller's to prevent. */
int disk_fill_blank(const char *path, struct err *err);

/* Make the prebuilt empty ext4 images that are missing below <state_dir>/blank (mkfs.ext4, non-sparse: a hole would
 * decrypt to noise). Called when a worker starts; safe against a second one doing the same. Takes a second, on a slow host many. */
int disk_prepare_blanks(const struct host_place *place, struct err *err);

/* A copy of the one of that size class, in memory without a name (host/sealed.h): it may be written, and takes what is not zero. Its size
 * is fixed. *ret_fd: the caller's; the copy is gone with the last descriptor. Blocking. */
int disk_copy_blank(const struct host_place *place, unsigned mib, int *ret_fd, struct err *err);
