/* Files that a task brought back, written below a folder. Their content, and only that, is the program's choice: a path is
 * written only when it was asked for, it never leaves the folder, and no symbolic link on the way is followed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "wire/result.h"

/* Make `folder` unless it is there; its parent must be. To be asked before there is anything to lose. */
int collected_prepare(const char *folder, struct err *err);

/* Write those of `result`'s files whose path is among `asked`. A file appears whole or not at all. Each that fails is told
 * by `on_failure`, a sentence; the others are written all the same. false: one failed. */
bool collected_write(const struct result *result, const struct task_text *asked, size_t n_asked, const char *folder,
		     void (*on_failure)(void *ctx, const char *message), void *ctx);
