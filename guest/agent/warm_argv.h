/* Which programs a warm runtime takes: the pure part of warm.h, but for looks at the task's root. */
#pragma once

#include <stdbool.h>

#include "wire/frame.h"

struct warm_runtime {
	const char *name;	   /* as the image's WARM_FILE and the initrd's library have it */
	const char *program;	   /* in the image */
	char *const *argv;	   /* with which it is started and brought to wait */
	const char *const *names; /* what argv[0] may be, NULL at the end; without the folder, which is /usr/bin */
};

const struct warm_runtime *warm_runtime_find(const char *name); /* NULL: unknown */

/* argv[0] is this runtime as the task would find it, its options mean the same to what waits, and nothing in the
 * environment or in /work would have made it start otherwise. */
bool warm_runtime_takes(const struct warm_runtime *runtime, const struct frame *run);
