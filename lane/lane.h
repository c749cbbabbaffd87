/* Lanes: small root processes that do the blocking, privileged work, one request at a time (lane/protocol.h). Each does only
 * the operations that are its own (lane/serve.c); any other request ends it. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/log.h"
#include "host/names.h"
#include "lane/accel.h"

enum lane_kind {
	LANE_DISK, /* makes and destroys disks */
	LANE_VMM,  /* starts microVMs, and ends those whose guard does not */
	LANE_REAP, /* of the reaper: all that destroys, and the sweep */
	LANE_KIND_COUNT
};

struct lane_setup {
	struct host_place place;
	char libexec_dir[PATH_MAX / 2]; /* holds mayfly-guard and mayfly-jail */
	uint32_t slot_uid_base, n_slots;
	enum accel accel; /* what microVMs run on here */
	enum log_level log_level;
};

/* As its process is called in logs: "disk-lane". */
const char *lane_name(enum lane_kind kind);

/* Run in a process of its own until the peer closes the socket: 0; or until it says something impossible: 1. */
int lane_main(enum lane_kind kind, int socket_fd, const struct lane_setup *setup);
