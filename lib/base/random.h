/* Bytes that nobody can foresee, from getrandom(2). */
#pragma once

#include <stddef.h>

/* Waits, once after a boot, until the kernel has gathered enough; it cannot fail after that. */
void random_fill(void *out, size_t len);
