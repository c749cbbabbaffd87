#include "worker/settings.h"

#include <inttypes.h>

#include "base/own.h"
#include "host/disk/disk.h"
#include "host/pressure.h"
#include "host/uids.h"
#include "lane/protocol.h"
#include "wire/task.h"
#include "worker/workspace/backends.h"

#define POOL_MAX_SLOTS (LANE_MAX_SLOTS / 2)

#define ROW(type, name, preset) CONF_ROW(struct settings, #name, CONF_TYPE_##type, name, preset)
#define UINT(name, min, max, preset) CONF_UINT_ROW(struct settings, #name, name, min, max, preset)
#define AUTO(name, min, max) CONF_AUTO_ROW(struct settings, #name, name, min, max)

#define TEMPLATES_MIB 1024 /* beside the tasks, where nothing else is said */

static const struct conf_key keys[] = {
	FLEET_ROWS(struct settings, NULL, "mayfly"),
	ROW(IDENT, host, NULL),
	ROW(IDENT, worker, NULL),
	ROW(PATH, state_dir, "/var/lib/mayfly"),
	ROW(PATH, libexec_dir, "/usr/libexec/mayfly"),
	UINT(partitions, 1, 1000, "8"),
	AUTO(slots, 1, LANE_MAX_SLOTS),
	AUTO(memory_mib, 64, UINT32_MAX),
	AUTO(disk_mib, 16, UINT32_MAX),
	ROW(PATH, pressure_file, PRESSURE_FILE),
	UINT(pressure_max, 1, 100, "10"),
	AUTO(memory_floor_mib, 1, UINT32_MAX),
	UINT(pool_max, 0, POOL_MAX_SLOTS, "0"),
	UINT(pool_memory_mib, 16, UINT32_MAX, "1024"),
	UINT(pool_age_ms, 1000, 3600000, "300000"),
	UINT(lease_ms, 3000, 600000, "10000"), /* renewed after a third, given up a second before its end */
	UINT(max_attempts, 1, 100, "3"),
	UINT(boot_ms, 1000, 600000, "60000"),
	UINT(drain_ms, 0, 3600000, "30000"),
	ROW(BOOL, allow_emulation, "no"),
	ROW(TEXT, vmm, "qemu"),
	ROW(BOOL, allow_null_vmm, "no"),
	ROW(BOOL, clones, "yes"),
	AUTO(template_memory_mib, 1, UINT32_MAX),
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

uint64_t settings_vm_slots(const struct settings *settings)
{
	return settings->slots + settings->pool_max + (settings->clones ? 1 : 0); /* that of the template that is being built */
}

static const struct {
	uint64_t uid;
	const char *whose;
} reserved[] = { { UID_PROBE, "the probe microVM" }, { UID_READER, "its reader" }, { UID_GUARD, "guards" } };

static bool is_slot_uid(const struct settings *settings, uint64_t uid)
{
	return uid >= settings->slot_uid_base && uid - settings->slot_uid_base < settings_vm_slots(settings);
}

static uint64_t last_slot_uid(const struct settings *settings)
{
	return settings->slot_uid_base + settings_vm_slots(settings) - 1;
}

/* Of nobody else: a VMM that was taken over must not be the engine's, the guards' or the probe's equal. */
static int check_reserved(const struct settings *settings, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		if (is_slot_uid(settings, reserved[i].uid))
			return err_set(err, ERR_INPUT, 0,
				       "%s: slot_uid_base: the slots' uids %" PRIu64 " to %" PRIu64 " hold %" PRIu64
				       ", which is kept for %s; write another one",
				       settings->fleet.path, settings->slot_uid_base, last_slot_uid(settings), reserved[i].uid,
				       reserved[i].whose);
		if (settings->engine_uid == reserved[i].uid)
			return err_set(err, ERR_INPUT, 0, "%s: engine_uid: %" PRIu64 " is kept for %s; write another one",
				       settings->fleet.path, reserved[i].uid, reserved[i].whose);
	}
	return 0;
}

static int check_slots(const struct settings *settings, struct err *err)
{
	if (settings_vm_slots(settings) <= LANE_MAX_SLOTS)
		return 0;
	return err_set(err, ERR_INPUT, 0, "%s: slots: with pool_max they are %" PRIu64 ", and can be %d at most; write less of either",
		       settings->fleet.path, settings_vm_slots(settings), LANE_MAX_SLOTS);
}

static int check_uids(const struct settings *settings, struct err *err)
{
	if (is_slot_uid(settings, settings->engine_uid))
		return err_set(err, ERR_INPUT, 0,
			       "%s: engine_uid: %" PRIu64 " is one of the slots' uids, %" PRIu64 " to %" PRIu64
			       "; write another one",
			       settings->fleet.path, settings->engine_uid, settings->slot_uid_base, last_slot_uid(settings));
	return check_reserved(settings, err);
}

/* What was left to this host never runs into a uid that is somebody's. */
static uint64_t slots_before_uid(const struct settings *settings, uint64_t slots, uint64_t uid)
{
	uint64_t beside = settings_vm_slots(settings) - settings->slots;
	uint64_t n = uid > settings->slot_uid_base + beside ? uid - settings->slot_uid_base - beside : slots;

	return n < slots ? n : slots;
}

static void fit_slots(struct settings *settings, const struct host_limits *limits, uint32_t overhead_mib)
{
	uint64_t slots = host_limits_slots(limits, settings->memory_mib, settings->disk_mib, overhead_mib);

	if (slots > LANE_MAX_SLOTS - settings->pool_max - 1)
		slots = LANE_MAX_SLOTS - settings->pool_max - 1;
	slots = slots_before_uid(settings, slots, settings->engine_uid);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		slots = slots_before_uid(settings, slots, reserved[i].uid);
	settings->slots = slots;
}

static uint64_t least_disk_mib(void)
{
	return disk_size_class_mib(TASK_MIN_DISK_MIB);
}

static uint64_t at_least(uint64_t number, uint64_t least)
{
	return number < least ? least : number;
}

/* A few of the usual size, one at least. They take far less: what their guests have touched. */
static uint64_t templates_mib(uint64_t memory_mib)
{
	uint64_t mib = at_least(memory_mib / 4, TASK_DEFAULT_MEMORY_MIB);

	return mib < TEMPLATES_MIB ? mib : TEMPLATES_MIB;
}

/* However little there is now: one task of the usual size is tried. A disk that is full today is nothing that a person
 * configured. */
static void fit(struct settings *settings, const struct host_limits *limits, uint32_t overhead_mib)
{
	uint64_t one_disk_mib = disk_size_class_mib(TASK_DEFAULT_DISK_MIB);
	uint64_t disks_mib = settings->slots * least_disk_mib();

	if (settings->memory_mib == CONF_AUTO)
		settings->memory_mib = at_least(host_limits_memory_mib(limits), TASK_DEFAULT_MEMORY_MIB + overhead_mib);
	if (settings->disk_mib == CONF_AUTO)
		settings->disk_mib = at_least(host_limits_disk_mib(limits), at_least(one_disk_mib, disks_mib));
	if (settings->template_memory_mib == CONF_AUTO)
		settings->template_memory_mib = templates_mib(settings->memory_mib);
	if (settings->memory_floor_mib == CONF_AUTO)
		settings->memory_floor_mib = host_limits_floor_mib(limits);
	if (settings->slots == CONF_AUTO)
		fit_slots(settings, limits, overhead_mib);
}

static int refuse_slots(const struct settings *settings, const char *what, const char *key, uint64_t has_mib,
			uint64_t least_mib, struct err *err)
{
	return err_set(err, ERR_INPUT, 0,
		       "%s: slots: %s takes %" PRIu64 " MiB at least, so that %" PRIu64 " of them do not fit in %s = %" PRIu64
		       "; write slots = %" PRIu64 ", or %s = %" PRIu64 " or more",
		       settings->fleet.path, what, least_mib, settings->slots, key, has_mib, at_least(has_mib / least_mib, 1), key,
		       least_mib * settings->slots);
}

static int check_memory(const struct settings *settings, const struct host_limits *limits, uint32_t overhead_mib,
			struct err *err)
{
	const uint64_t least_mib = TASK_MIN_MEMORY_MIB + overhead_mib;

	if (settings->memory_mib > limits->memory_mib)
		return err_set(err, ERR_INPUT, 0,
			       "%s: memory_mib: %" PRIu64 " are more than the %" PRIu64
			       " MiB that this host has; write less, or memory_mib = auto",
			       settings->fleet.path, settings->memory_mib, limits->memory_mib);
	if (settings->memory_mib / least_mib < settings->slots)
		return refuse_slots(settings, "a task with its VMM", "memory_mib", settings->memory_mib, least_mib, err);
	if (settings->memory_floor_mib >= limits->memory_mib)
		return err_set(err, ERR_INPUT, 0,
			       "%s: memory_floor_mib: %" PRIu64 " MiB are never available on a host of %" PRIu64
			       " MiB; write memory_floor_mib = auto",
			       settings->fleet.path, settings->memory_floor_mib, limits->memory_mib);
	return 0;
}

static int check_disk(const struct settings *settings, struct err *err)
{
	if (settings->disk_mib / least_disk_mib() >= settings->slots)
		return 0;
	return refuse_slots(settings, "a disk", "disk_mib", settings->disk_mib, least_disk_mib(), err);
}

int settings_fit(struct settings *settings, const struct host_limits *limits, struct err *err)
{
	const struct backend *backend = backend_find(settings->vmm);
	uint32_t overhead_mib = backend_overhead_mib(backend);
	int r;

	settings->cpus = limits->cpus;
	fit(settings, limits, overhead_mib);
	r = check_slots(settings, err);
	if (r == 0)
		r = check_uids(settings, err);
	if (r < 0 || !backend->control) /* it makes nothing, and so takes nothing */
		return r;
	r = check_memory(settings, limits, overhead_mib, err);
	return r < 0 ? r : check_disk(settings, err);
}

int settings_load(const char *path, struct settings *ret, struct err *err)
{
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	ret->fleet.path = path;
	if (r == 0)
		r = check_vmm(path, ret, err);
	return r < 0 ? r : fleet_settings_check(&ret->fleet, err);
}
