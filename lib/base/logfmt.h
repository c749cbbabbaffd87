/* Fields as logfmt: key=value, with one space between two of them. A value is quoted where it has to be, and escaped as in a JSON
 * string, so that no text can end its value, add a field or begin another line. Pure. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#define LOGFMT_VALUE_BYTES 1024 /* of one value as it is written; the rest of a longer one is left out, and "…" says so */

/* `fmt` is a constant: fields as printf has them, `key=%s` or `key="%s of %d"`. A value with spaces of its own stands
 * between quotes in `fmt`; nothing that an argument puts into it can end it. Conversions: s d i u x c %, with h l ll z
 * and, for s, a precision. The first field that has no room in `size` is left out, and all after it. Answers the
 * length; no NUL. */
size_t logfmt_format(char *out, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
