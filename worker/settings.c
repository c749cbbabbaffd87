#include "worker/settings.h"

#include <inttypes.h>

#include "base/own.h"
#include "host/uids.h"
#include "lane/protocol.h"
#include "worker/workspace/backends.h"

#define ROW(type, name, preset) CONF_ROW(struct settings, #name, CONF_TYPE_##type, name, preset)
#define UINT(name, min, max, preset) CONF_UINT_ROW(struct settings, #name, name, min, max, preset)

static const struct conf_key keys[] = {
	FLEET_ROWS(struct settings, NULL, "mayfly"),
	ROW(IDENT, host, NULL),
	ROW(IDENT, worker, NULL),
	ROW(PATH, state_dir, "/var/lib/mayfly"),
	ROW(PATH, libexec_dir, "/usr/libexec/mayfly"),
	UINT(partitions, 1, 1000, "8"),
	UINT(slots, 1, LANE_MAX_SLOTS, "2"),
	UINT(memory_mib, 64, UINT32_MAX, "2048"),
	UINT(disk_mib, 16, UINT32_MAX, "8192"),
	UINT(lease_ms, 3000, 600000, "10000"), /* renewed after a third, given up a second before its end */
	UINT(max_attempts, 1, 100, "3"),
	UINT(boot_ms, 1000, 600000, "60000"),
	UINT(drain_ms, 0, 3600000, "30000"),
	ROW(BOOL, allow_emulation, "no"),
	ROW(TEXT, vmm, "qemu"),
	ROW(BOOL, allow_null_vmm, "no"),
	UINT(null_run_ms, 0, 3600000, "0"),
	UINT(engine_uid, 1, 4000000000u, "64200"),
	UINT(slot_uid_base, 1, 4000000000u, "64300"),
	ROW(LOG_LEVEL, log_level, "info"),
};

static int check_vmm(const char *path, const struct settings *settings, struct err *err)
{
	const struct backend *backend = backend_find(settings->vmm);

	if (!backend)
		return err_set(err, ERR_INPUT, 0, "%s: vmm: '%s' is not a driver; write qemu", path, settings->vmm);
	if (!backend->control && !settings->allow_null_vmm)
		return err_set(err, ERR_INPUT, 0,
			       "%s: vmm = null runs nothing; it is for queue benchmarks and tests: add allow_null_vmm = yes",
			       path);
	return 0;
}

static bool is_slot_uid(const struct settings *settings, uint64_t uid)
{
	return uid >= settings->slot_uid_base && uid - settings->slot_uid_base < settings->slots;
}

/* Of nobody else: a VMM that was taken over must not be the engine's, the guards' or the probe's equal. */
static int check_reserved(const char *path, const struct settings *settings, struct err *err)
{
	const struct {
		uint64_t uid;
		const char *whose;
	} reserved[] = { { UID_PROBE, "the probe microVM" }, { UID_READER, "its reader" }, { UID_GUARD, "guards" } };

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		if (is_slot_uid(settings, reserved[i].uid))
			return err_set(err, ERR_INPUT, 0,
				       "%s: slot_uid_base: the slots' uids %" PRIu64 " to %" PRIu64 " hold %" PRIu64
				       ", which is kept for %s; write another one",
				       path, settings->slot_uid_base, settings->slot_uid_base + settings->slots - 1,
				       reserved[i].uid, reserved[i].whose);
		if (settings->engine_uid == reserved[i].uid)
			return err_set(err, ERR_INPUT, 0, "%s: engine_uid: %" PRIu64 " is kept for %s; write another one", path,
				       reserved[i].uid, reserved[i].whose);
	}
	return 0;
}

static int check_uids(const char *path, const struct settings *settings, struct err *err)
{
	uint64_t last = settings->slot_uid_base + settings->slots - 1;

	if (is_slot_uid(settings, settings->engine_uid))
		return err_set(err, ERR_INPUT, 0,
			       "%s: engine_uid: %" PRIu64 " is one of the slots' uids, %" PRIu64 " to %" PRIu64 "; write another one", path,
			       settings->engine_uid, settings->slot_uid_base, last);
	return check_reserved(path, settings, err);
}

int settings_load(const char *path, struct settings *ret, struct err *err)
{
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	ret->fleet.path = path;
	if (r == 0)
		r = check_vmm(path, ret, err);
	if (r == 0)
		r = fleet_settings_check(&ret->fleet, err);
	return r < 0 ? r : check_uids(path, ret, err);
}
