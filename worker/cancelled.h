/* Ids that were cancelled, for a task that is seen here only later: it may wait in the queue as long as the control topic keeps
 * the word. More than CANCELLED_MAX are not remembered: the oldest go first. Pure data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ident.h"

#define CANCELLED_MAX (1u << 17) /* a batch of 10^5; 10 MiB when full */

struct cancelled;

struct cancelled *cancelled_new(void);
void cancelled_add(struct cancelled *cancelled, const char *id, uint64_t created_ms);

/* Was the task with this id, made at task_created_ms, cancelled then or later? A later task may use the id again. */
bool cancelled_has(struct cancelled *cancelled, const char *id, uint64_t task_created_ms);
void cancelled_free(struct cancelled *cancelled);
