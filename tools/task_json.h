/* A task in its JSON form (schemas/task.md) into msgpack. What is wrong with it is said in the words of the worker's own
 * decoder, before anything is sent. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"
#include "wire/task.h"

/* Reads one JSON object. Fills in v, kind, id and created_ms (now) where they are missing; `id` gets the id. ERR_INPUT
 * names the field. `hint`: a sentence about something that is allowed and most likely not meant, else "". */
#define TASK_JSON_HINT_BYTES 160
int task_json_read(const char *text, size_t len, struct buf *out, char id[IDENT_ID_MAX + 1],
		   char hint[TASK_JSON_HINT_BYTES], struct err *err);

/* Would a worker take these bytes for a task? ERR_INPUT, with the flaw filled, when not. */
int task_bytes_check(const struct buf *bytes, struct task_flaw *flaw, struct err *err);
