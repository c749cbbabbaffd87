#include "host/meminfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/own.h"

int meminfo_read(const char *path, struct meminfo *ret)
{
	cleanup_file FILE *file = fopen(path, "re");
	uint64_t kib, total_kib = 0, available_kib = UINT64_MAX;
	char line[128];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
			total_kib = kib;
		else if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			available_kib = kib;
	}
	if (!total_kib || available_kib == UINT64_MAX)
		return -EBADMSG;
	ret->total_mib = total_kib / 1024;
	ret->available_mib = available_kib / 1024;
	return 0;
}
