/* The reaper's engine: unprivileged, one loop. It scans Redis for leases that are due, chooses (reaper/due_leases.h), and
 * does batches (reaper/reap_batch.h); every few scans it also looks for objects on this host that nobody holds
 * (reaper/leftovers.h).
 *
 * It does nothing while Redis is away, has just come back or has just started: then leases look missing or expired
 * that are not. It never acts on Redis's keyspace events. */
#pragma once

#include "bus/redis_door.h"
#include "reaper/settings.h"

struct reaper_ends {
	int lane_fd;   /* root: lane_reap_main() */
	int kafka_fd; /* Kafka: kafka_process_main() */
	int supervisor_fd; /* a byte asks for another lane (base/fd_pass.h brings it) */
};

/* Runs until SIGTERM, then ends the step at hand; answers the exit status. Takes the descriptors. */
int reaper_main(const struct reaper_settings *settings, const struct redis_door *redis, const struct reaper_ends *ends);
