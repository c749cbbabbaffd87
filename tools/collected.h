/* Files that a task brought back, written below a folder. Their content, and only that, is the program's choice: a path is
 * written only when it was asked for, it never leaves the folder, and no symbolic link on the way is followed. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "wire/result.h"

/* Write those of `result`'s files whose path is among `asked`. A file appears whole or not at all. The first failure is
 * answered after the others were tried. *ret_n: files written. */
int collected_write(const struct result *result, const struct task_text *asked, size_t n_asked, const char *folder,
		    size_t *ret_n, struct err *err);
