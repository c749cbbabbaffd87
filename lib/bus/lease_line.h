/* A lease's line as Redis holds it (schemas/lease.md), into a struct. Pure and strict: an operator or another program may have put
 * anything there. */
#pragma once

#include <stddef.h>

#include "bus/reap.h"

/* `len` bytes. 0 or -EBADMSG, with a message that begins with the field ("owner: ") if it is one's fault; `ret->id` and `ret->due_ms`
 * are not touched. */
int lease_line_parse(const char *line, size_t len, struct reap_lease *ret, struct err *err);
