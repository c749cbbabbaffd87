/* Tasks of this worker that are over, remembered for as long as records can still come that were sent before their end: such a
 * record has the id of a task that lived when it was sent, so it is that task again, or a mistake. Pure data.
 *
 * "Before its end" is an offset, not a time: `end` is the end of the partition's log as it was known before the result was
 * committed. Nobody who saw the result can have sent a record below it, whatever the clocks say. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ident.h"
#include "bus/lease_keys.h"
#include "wire/record_place.h"

#define FINISHED_MAX 100000 /* tasks, 14 MB: the backlog of one worker. Of more than these, the oldest are forgotten */

struct finished;

struct finished_task {
	char id[IDENT_ID_MAX + 1];
	char content[LEASE_CONTENT_MAX + 1]; /* worker/content.h */
	struct record_place place; /* of its record */
	int64_t end;
};

struct finished *finished_new(void); /* NULL: out of memory */

/* `end` is not below that of one of the same id and log that was added before. */
void finished_add(struct finished *finished, const char *id, const char *content, const struct record_place *place,
		  int64_t end);

/* The task that was over when this record came, but not when it was sent, in the same partition; NULL: there is none. */
const struct finished_task *finished_find(const struct finished *finished, const char *id, const struct record_place *place);

void finished_free(struct finished *finished);
