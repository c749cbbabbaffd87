/* Ids that were cancelled before their task was seen here: a task that comes later ends as cancelled. A ring: the oldest are
 * forgotten first, and all of them after the control topic's retention. Pure data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ident.h"

#define CANCELLED_MAX 4096                /* 300 KiB; more cancellations than that in ten minutes are forgotten */
#define CANCELLED_KEEP_MS (600ull * 1000) /* the control topic's retention */

struct cancelled;

struct cancelled *cancelled_new(void);
void cancelled_add(struct cancelled *cancelled, const char *id, uint64_t created_ms);

/* Was the task with this id, made at task_created_ms, cancelled after that? A later task may use the id again. */
bool cancelled_has(const struct cancelled *cancelled, const char *id, uint64_t task_created_ms, uint64_t now_ms);
void cancelled_free(struct cancelled *cancelled);
