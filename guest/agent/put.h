/* Input files into the task's /work, piece by piece. A path stays below /work and meets no symbolic link, whatever an
 * earlier program of this VM left there. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "wire/frame.h"

struct put {
	int fd; /* of the file under way, or -1 */
	uint64_t offset;
	char path[TASK_MAX_PATH_BYTES + 1];
};

/* `frame` is a FRAME_PUT. After a failure the file under way is closed and forgotten. */
int put_piece(struct put *put, const struct frame *frame, struct err *err);

void put_cancel(struct put *put); /* the file under way stays as it is; fine when there is none */
