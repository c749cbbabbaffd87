/* /proc/meminfo, as far as it matters here. */
#pragma once

#include <stdint.h>

struct meminfo {
	uint64_t total_mib;
	uint64_t available_mib; /* what can be had without swapping, as the kernel estimates it */
};

/* 0, or a negative errno: it cannot be read, or lacks one of them; then `ret` is as it was. */
int meminfo_read(const char *path, struct meminfo *ret);
