/* What the images of this host hold, as their builder wrote it down: the administrator's files, for a hint in a message. */
#pragma once

#include "host/names.h"

/* The names of those that are there, at most `max`, in the order of their names; 0 where the folder cannot be read. */
size_t images_list(const struct host_place *place, char names[][IDENT_IMAGE_MAX + 1], size_t max);

/* The names of the images that have `program` in the PATH a task has by default, as "a", "a, b" or "a, b and others"; ""
 * when none is known. Whatever cannot be read is not known. */
void images_with(const struct host_place *place, const char *program, char *out, size_t size);

/* Which file an image is now. Another one, or the same one written anew, has another stamp; all zero: there is none. Compare with memcmp(). */
struct image_stamp {
	uint64_t dev, ino, size, mtime_ns;
};
void images_stamp(const struct host_place *place, const char *image, struct image_stamp *ret);
