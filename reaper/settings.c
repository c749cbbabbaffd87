#include "reaper/settings.h"

#include "base/own.h"

#define ROW(type, name, preset)	     CONF_ROW(struct reaper_settings, #name, CONF_TYPE_##type, name, preset)
#define UINT(name, min, max, preset) CONF_UINT_ROW(struct reaper_settings, #name, name, min, max, preset)

static const struct conf_key keys[] = {
	FLEET_ROWS(struct reaper_settings, NULL, "mayfly"),
	ROW(IDENT, host, NULL),
	ROW(PATH, state_dir, "/var/lib/mayfly"),
	ROW(PATH, libexec_dir, "/usr/libexec/mayfly"),
	UINT(lease_ms, 1000, 600000, "10000"),
	UINT(grace_ms, 100, 600000, "5000"),
	UINT(scan_ms, 50, 60000, "1000"),
	UINT(lost_after_ms, 1000, 86400000, "60000"),
	UINT(max_attempts, 1, 100, "3"),
	UINT(engine_uid, 1, 4000000000u, "64201"),
	ROW(LOG_LEVEL, log_level, "info"),
};

int reaper_settings_load(const char *path, struct reaper_settings *ret, struct err *err)
{
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	ret->fleet.path = path;
	return r < 0 ? r : fleet_settings_check(&ret->fleet, err);
}
