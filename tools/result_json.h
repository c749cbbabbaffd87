/* A result as JSON for scripts: the fields of schemas/result.md with the streams flattened to text. */
#pragma once

#include <stdio.h>

#include "base/err.h"
#include "wire/result.h"

/* One line. Invalid UTF-8 of the program becomes U+FFFD. `stdout` is the whole stream while it is whole; else its head, with
 * `stdout_truncated` true and its end in `stdout_tail`. Errors of writing are left in the stream. */
int result_json_print(const struct result *result, FILE *to, struct err *err);
