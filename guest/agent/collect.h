/* Files of the task's /work back to the engine: regular files only, opened with the task's own rights, bounded
 * together; in pieces, so that other programs are served meanwhile. */
#pragma once

#include "guest/agent/connection.h"
#include "wire/frame.h"

/* A FRAME_COLLECT under way: `path` is the next of `n_paths` one after the other in `paths`, each with its NUL. */
struct collect {
	uint32_t exec; /* 0: none is under way, and nothing below is valid */
	char *paths, *path;
	size_t n_paths;
	uint64_t limit_bytes; /* what is left of it */
	int fd;		      /* of the file whose content is being sent, and `offset` bytes of `size` were; else -1 */
	uint64_t offset, size;
	uint32_t mode;
};

/* `frame` is a FRAME_COLLECT. 0, -ENAMETOOLONG or -ENOMEM. */
int collect_begin(struct collect *collect, const struct frame *frame);

/* Queue some of it: a bounded number of frames, and no more than the connection should hold. After the FRAME_COLLECTED
 * none is under way. 0, or a negative errno: no memory. */
int collect_step(struct collect *collect, struct connection *connection);

void collect_cancel(struct collect *collect); /* fine when none is under way */
