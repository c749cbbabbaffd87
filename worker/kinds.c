#include "worker/kinds.h"

#include <assert.h>

#include "base/own.h"

static const struct kind *const kinds[] = {
	[TASK_KIND_RUN] = &kind_run,
};
static_assert(ARRAY_SIZE(kinds) == TASK_KIND_COUNT, "every kind of task has its row");

const struct kind *kind_of(enum task_kind kind)
{
	return kinds[kind];
}
