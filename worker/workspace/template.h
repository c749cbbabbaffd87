/* A template: what is left of a microVM that was booted, with its image mounted and nothing of anybody's in it, saved and ended. Clones
 * begin with its memory, each with a private copy of what it changes, and with the state of its devices. Both are sealed: nobody
 * can write them any more, neither a clone nor the engine. worker/templates.h makes and keeps them. */
#pragma once

#include <stdint.h>

#include "base/ident.h"
#include "worker/workspace/shape.h"

struct template {
	char image[IDENT_IMAGE_MAX + 1]; /* of the shape */
	struct shape shape;
	int memory_fd, state_fd;
	uint64_t build_id; /* the lane's: of what it was made from. Not 0 */
	uint64_t boot_ms;  /* what its own boot took: a clone is not waited for much longer */
	unsigned n_users;
};
