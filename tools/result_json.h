/* A result as JSON for scripts: the fields of schemas/result.md with the streams flattened to text. */
#pragma once

#include <stdio.h>

#include "base/err.h"
#include "wire/result.h"

/* Prints one line. `stdout` is all output that was kept; or, where that does not fit into a result, its head, and then
 * `stdout_truncated` is true and `stdout_tail` is its end. Both are text where they are UTF-8, without the parts of a
 * character that a cut left; else base64 of the exact bytes. `stdout_encoding` says which. A failed write stays in the
 * stream's error flag. */
int result_json_print(const struct result *result, FILE *to, struct err *err);
