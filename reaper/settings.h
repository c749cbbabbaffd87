/* The reaper's configuration file, checked. docs: deploy/reaper.conf has every key with its meaning. */
#pragma once

#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/fleet.h"

struct reaper_settings {
	struct fleet_settings fleet;
	char host[CONF_TEXT_MAX]; /* this machine: of its leases the reaper also removes the objects */
	char state_dir[CONF_TEXT_MAX];
	char libexec_dir[CONF_TEXT_MAX];
	uint64_t lease_ms; /* as the workers' */
	uint64_t grace_ms; /* beyond a lease's end, for clocks and for a worker's own kill */
	uint64_t scan_ms;
	uint64_t lost_after_ms; /* an orphan that no worker takes for so long is lost */
	uint64_t max_attempts;	/* as the workers' */
	uint64_t engine_uid;
	enum log_level log_level;
};

/* ERR_INPUT names file, line and key. */
int reaper_settings_load(const char *path, struct reaper_settings *ret, struct err *err);
