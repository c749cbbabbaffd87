/* Memory of the kernel's that has no name, and that nobody can change any more once it is sealed (memfd_create(2), F_ADD_SEALS): the
 * memory and the device state of a template. A seal is the file's, whoever has a descriptor and however it was opened; nobody takes one
 * off again, root included. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* `name` is for people who look at /proc. Its size is fixed when `bytes` is not 0; else it may still be written and grow. It takes no
 * memory before it is written. */
int sealed_memory_new(const char *name, uint64_t bytes, int *ret_fd, struct err *err);

/* From now on it cannot be written, grow or shrink. -EBUSY with ERR_BUSY: somebody has it mapped and can write, so whoever wrote it still
 * lives. Fine when it is sealed already. */
int sealed_memory_seal(int fd, struct err *err);

/* ERR_BUG: it is no such memory, or not sealed in every way. */
int sealed_memory_check(int fd, uint64_t *ret_bytes, struct err *err);

/* The same memory under an open file description of its own, to read: who gets it shares no offset with anybody. Checks it, too. As root,
 * with /proc. */
int sealed_memory_reopen(int fd, int *ret_fd, struct err *err);

/* How much of it was never written, and takes memory when somebody who has it mapped looks there. */
int sealed_memory_holes(int fd, uint64_t *ret_bytes, struct err *err);
