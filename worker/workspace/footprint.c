#include "worker/workspace/footprint.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FORGET 8 /* what is forgotten of a larger one with each sample: one part of so many */

static bool is_of(const struct footprint *footprint, const struct shape *shape)
{
	return footprint->cpus == shape->cpus && footprint->memory_mib == shape->memory_mib &&
	       footprint->disk_mib == shape->disk_mib && strcmp(footprint->image, shape->image) == 0;
}

static struct footprint *find(struct footprints *footprints, const struct shape *shape)
{
	for (size_t i = 0; i < FOOTPRINT_SHAPES_MAX; i++)
		if (is_of(&footprints->list[i], shape)) {
			footprints->list[i].used = ++footprints->clock;
			return &footprints->list[i];
		}
	return NULL;
}

static struct footprint *take_oldest(struct footprints *footprints, const struct shape *shape)
{
	struct footprint *oldest = &footprints->list[0];

	for (size_t i = 1; i < FOOTPRINT_SHAPES_MAX; i++)
		if (footprints->list[i].used < oldest->used)
			oldest = &footprints->list[i];
	*oldest = (struct footprint){ .cpus = shape->cpus,
				      .memory_mib = shape->memory_mib,
				      .disk_mib = shape->disk_mib,
				      .used = ++footprints->clock };
	(void)snprintf(oldest->image, sizeof(oldest->image), "%s", shape->image); /* an ident */
	return oldest;
}

void footprints_add(struct footprints *footprints, const struct shape *shape, uint64_t mib)
{
	struct footprint *footprint = find(footprints, shape);

	if (!footprint)
		footprint = take_oldest(footprints, shape);
	if (mib >= footprint->mib)
		footprint->mib = mib;
	else
		footprint->mib -= (footprint->mib - mib + FORGET - 1) / FORGET;
}

uint64_t footprints_mib(struct footprints *footprints, const struct shape *shape)
{
	const struct footprint *footprint = find(footprints, shape);

	return footprint ? footprint->mib : 0;
}
