/* The worker's engine in a process of its own, without supervisor and lanes: whoever starts it plays those.
 *
 * usage: engine-only SETTINGS SUPERVISOR_FD DISK_LANE_FD VMM_LANE_FD */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "worker/engine.h"
#include "worker/settings.h"

static int refuse(const struct err *err)
{
	(void)fprintf(stderr, "engine-only: %s\n", err->msg);
	return 2;
}

int main(int argc, char **argv)
{
	static struct settings settings;
	struct engine_ends ends = { .accel = "none" };
	struct host_limits limits;
	struct err err;

	if (argc != 5)
		return 2;
	if (settings_load(argv[1], &settings, &err) < 0)
		return refuse(&err);
	host_limits_read("", settings.state_dir, &limits);
	limits.memory_mib = UINT32_MAX; /* nothing is made here */
	if (settings_fit(&settings, &limits, &err) < 0)
		return refuse(&err);
	ends.supervisor_fd = atoi(argv[2]);
	ends.lane_fds[ENGINE_LANE_DISK] = atoi(argv[3]);
	ends.lane_fds[ENGINE_LANE_VMM] = atoi(argv[4]);
	log_init("engine", settings.log_level);
	return engine_main(&settings, &ends);
}
