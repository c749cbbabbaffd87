/* Key material: locked memory that is left out of core dumps and of forked children, wiped when freed.
 *
 * A struct secret never travels by value, is never logged and never becomes an argument or an environment variable. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct secret; /* pages of their own: mlock()ed, MADV_DONTDUMP, MADV_WIPEONFORK; without guard pages */

/* All zero. ERR_HOST when memory cannot be locked (RLIMIT_MEMLOCK). */
int secret_new(size_t len, struct secret **ret, struct err *err);

/* Could `n` > 0 short secrets be held at the same time, a page each? Keeps none. ERR_HOST as above. */
int secret_try_room(size_t n, struct err *err);

/* Filled from getrandom(2). */
int secret_random(size_t len, struct secret **ret, struct err *err);

uint8_t *secret_data(struct secret *secret);
const uint8_t *secret_peek(const struct secret *secret);
size_t secret_len(const struct secret *secret);

/* The lower-case hex text of `from` (QEMU wants passphrases to be UTF-8); 2 * len bytes, no terminator. */
int secret_hex(const struct secret *from, struct secret **ret, struct err *err);

/* Wipes, unlocks, unmaps. Accepts NULL. */
void secret_free(struct secret *secret);

DEFINE_FREEP(struct secret, secret_free)
