/* QMP, QEMU's control protocol: one JSON object a line in each direction. The VMM may have been taken over by its guest,
 * so what comes in is checked: length, kind, types. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define QMP_MAX_LINE_BYTES (64 * 1024) /* the greeting has 300 bytes, an error some hundreds */

enum qmp_kind {
	QMP_KIND_GREETING,
	QMP_KIND_RETURN,
	QMP_KIND_ERROR,
	QMP_KIND_EVENT,
	QMP_KIND_COUNT
};

struct qmp_message {
	enum qmp_kind kind;
	uint64_t id;     /* of the command that a return or an error answers; 0 when it has none */
	char text[160];  /* event: its name; error: class and description */
	char status[24]; /* event: the status that its data name, as those about a migration do; else "" */
};

/* Decode one line, without its newline. 0, or -EBADMSG. */
int qmp_decode(const char *line, size_t len, struct qmp_message *ret);

/* Append {"execute": command, "arguments": ..., "id": id} and a newline. `format` and what follows are the arguments, as jansson's
 * json_pack() takes them; NULL: none. Not for a key: what passes through here stays in memory that is neither locked nor wiped.
 * 0 or -ENOMEM. */
int qmp_encode(struct buf *out, const char *command, uint64_t id, const char *format, ...);
