/* The reaper's engine: unprivileged, one loop, one thing at a time.
 *
 *	RESTING  --(scan_ms later)-->             SCANNING  which leases are due? (Redis)
 *	SCANNING --(some are to be acted on)-->   REAPING   a batch of leases (reaper/reap_batch.h)
 *	SCANNING --(none; ledgers are due)-->     TIDYING   keep the ledgers (reaper/kafka_process.h)
 *	any of them, at its end --(the sweep is due)--> LISTING   what is on this host? (reaper/host_sweep.h)
 *	LISTING  ----------------------------->   LOOKING   batches of leftovers, one after the other
 *	any of them, at its end ------------->    RESTING   after a full batch for no time at all
 *
 * SIGTERM ends the step at hand, then the loop. A Kafka process or supervisor that is lost ends us, and the
 * supervisor starts all anew: nothing lives here. A lane that is lost is replaced while the loop goes on.
 *
 * Nothing is done while Redis is away, has just come back or has just started: then leases look missing or expired
 * that are not. It never acts on Redis's keyspace events. */
#pragma once

#include "bus/redis_endpoint.h"
#include "reaper/settings.h"

struct reaper_ends {
	int lane_fd;	   /* root: lane_main(LANE_REAP) */
	int kafka_fd;	   /* kafka_process_main() */
	int supervisor_fd; /* a byte asks for another lane (base/fd_pass.h brings it) */
};

/* Runs until SIGTERM, then ends the step at hand; answers the exit status. Takes the descriptors. */
int reaper_main(const struct reaper_settings *settings, const struct redis_endpoint *redis, const struct reaper_ends *ends);
