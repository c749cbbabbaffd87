/* Says a task's flaw in the words of whoever wrote the task. The decoder speaks of fields and msgpack; people write
 * options or JSON. */
#pragma once

#include <stddef.h>

#include "wire/task.h"

#define WORDING_BYTES 440

/* What was typed after the options that may come more than once. Borrowed. */
struct wording_typed {
	const char *const *files, *const *collects;
	size_t n_files, n_collects;
};

/* "field: message", for JSON. */
void wording_of_json(const struct task_flaw *flaw, char out[WORDING_BYTES]);

/* "--option 'VALUE': message", for a command line. */
void wording_of_options(const struct wording_typed *typed, const struct task_flaw *flaw, char out[WORDING_BYTES]);

/* What the field is called on the command line, with the typed value where an option may come more than once. "": it
 * has no name there. */
void wording_option(const struct wording_typed *typed, const char *field, char *out, size_t size);
