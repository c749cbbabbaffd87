/* Writes files that a task brought back below a folder. The program chooses their content and nothing else: only paths
 * that were asked for are written, none leaves the folder, and no symbolic link is followed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "wire/result.h"

/* Make `folder` unless it is there; its parent must be. Called before the task is sent: a folder that cannot be written
 * would lose what it brings back. */
int collected_prepare(const char *folder, struct err *err);

/* Write those of `result`'s files whose path is among `asked`. A file appears whole or not at all. on_failure() gets a
 * sentence for each that fails; the others are still written. false: one failed. */
bool collected_write(const struct result *result, const struct task_text *asked, size_t n_asked, const char *folder,
		     void (*on_failure)(void *ctx, const char *message), void *ctx);
