/* What an idle microVM costs this host, by its shape: what was measured of such ones, remembered.
 *
 * A shape is an image with processors, memory and disk. Its footprint goes up with a sample at once and comes down
 * slowly, an eighth of the way a sample: a maximum that forgets. Only microVMs that have not run anything of a task are
 * measured, so no task decides it. A few shapes are remembered; the one that was not asked for longest makes room. */
#pragma once

#include <stdint.h>

#include "base/ident.h"
#include "worker/workspace/shape.h"

#define FOOTPRINT_SHAPES_MAX 64

struct footprint {
	char image[IDENT_ID_MAX + 1]; /* "": free */
	uint32_t cpus, memory_mib, disk_mib;
	uint64_t mib;
	uint64_t used; /* of the table's clock, when it was asked for */
};

/* All zero: nothing is known. */
struct footprints {
	uint64_t clock;
	struct footprint list[FOOTPRINT_SHAPES_MAX];
};

void footprints_add(struct footprints *footprints, const struct shape *shape, uint64_t mib);

/* 0: nothing is known of such ones. */
uint64_t footprints_mib(struct footprints *footprints, const struct shape *shape);
