/* A result as JSON for scripts: the fields of schemas/result.md with the streams flattened to text. */
#pragma once

#include <stdio.h>

#include "base/err.h"
#include "wire/result.h"

/* One line. `stdout` is all that was kept while it is inline; else its head, with `stdout_truncated` true and its end in
 * `stdout_tail`. Both are text while they are UTF-8, without the halves of a character at a cut; else base64 of the exact bytes:
 * `stdout_encoding` says which. Errors of writing are left in the stream. */
int result_json_print(const struct result *result, FILE *to, struct err *err);
