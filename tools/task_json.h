/* A task in its JSON form (schemas/task.md) into msgpack. What is wrong with it is said in the words of the worker's own
 * decoder, before anything is sent. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"

/* One JSON object. A missing v, kind or id is filled in, and created_ms with the present; `id` gets the id. ERR_INPUT names
 * the field. */
int task_json_read(const char *text, size_t len, struct buf *out, char id[IDENT_ID_MAX + 1], struct err *err);

/* Would a worker take these bytes for a task? ERR_INPUT names the field. */
int task_bytes_check(const struct buf *bytes, struct err *err);
