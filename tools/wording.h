/* Says a task's flaw in the words of whoever wrote the task. The decoder speaks of fields and msgpack; people write
 * options or JSON. */
#pragma once

#include <stddef.h>

#include "tools/order.h"
#include "wire/task.h"

#define WORDING_BYTES 440

/* "field: message", for JSON. */
void wording_of_json(const struct task_flaw *flaw, char out[WORDING_BYTES]);

/* "--option 'VALUE': message", for a command line. */
void wording_of_options(const struct order *order, const struct task_flaw *flaw, char out[WORDING_BYTES]);

/* What the field is called on the command line, with the typed value where an option may come more than once. "": it
 * has no name there. */
void wording_option(const struct order *order, const char *field, char *out, size_t size);
