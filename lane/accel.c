#include "lane/accel.h"

#include <assert.h>

#include "base/own.h"

static const char *const names[] = { "tcg", "kvm" };
static_assert(ARRAY_SIZE(names) == ACCEL_COUNT, "a name for every accel");

const char *accel_name(enum accel accel)
{
	return names[accel];
}
