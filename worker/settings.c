#include "worker/settings.h"

#include <inttypes.h>
#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_properties.h"
#include "host/uids.h"
#include "wire/lane.h"

#define TEXT(name, preset_) { #name, CONF_TYPE_TEXT, offsetof(struct settings, name), 0, 0, preset_ }
#define UINT(name, min_, max_, preset_) { #name, CONF_TYPE_UINT, offsetof(struct settings, name), min_, max_, preset_ }
#define BOOL(name, preset_) { #name, CONF_TYPE_BOOL, offsetof(struct settings, name), 0, 0, preset_ }

static const struct conf_key keys[] = {
	TEXT(brokers, NULL),
	TEXT(topic_prefix, "mayfly"),
	TEXT(group, "mayfly"),
	TEXT(redis_host, "127.0.0.1"),
	UINT(redis_port, 1, 65535, "6379"),
	REDIS_DOOR_KEYS(struct settings),
	{ "kafka.", CONF_TYPE_PAIRS, offsetof(struct settings, kafka), 0, 0, NULL },
	TEXT(kafka_config_file, ""),
	TEXT(host, NULL),
	TEXT(worker, NULL),
	TEXT(state_dir, "/var/lib/mayfly"),
	TEXT(libexec_dir, "/usr/libexec/mayfly"),
	UINT(partitions, 1, 1000, "8"),
	UINT(slots, 1, LANE_MAX_SLOTS, "2"),
	UINT(memory_mib, 64, UINT32_MAX, "2048"),
	UINT(disk_mib, 16, UINT32_MAX, "8192"),
	UINT(lease_ms, 3000, 600000, "10000"), /* renewed after a third, given up a second before its end */
	UINT(max_attempts, 1, 100, "3"),
	UINT(boot_ms, 1000, 600000, "60000"),
	UINT(drain_ms, 0, 3600000, "30000"),
	BOOL(allow_emulation, "no"),
	TEXT(vmm, "qemu"),
	BOOL(allow_null_vmm, "no"),
	UINT(null_run_ms, 0, 3600000, "0"),
	UINT(engine_uid, 1, 4000000000u, "64200"),
	UINT(slot_uid_base, 1, 4000000000u, "64300"),
	TEXT(log_level, "info"),
};

static int check_idents(const char *path, const struct settings *settings, struct err *err)
{
	const struct {
		const char *key, *value;
	} idents[] = {
		{ "topic_prefix", settings->topic_prefix }, { "group", settings->group },
		{ "host", settings->host },		    { "worker", settings->worker },
	};

	for (size_t i = 0; i < ARRAY_SIZE(idents); i++)
		if (!ident_is_id(idents[i].value, strlen(idents[i].value)))
			return err_set(err, ERR_INPUT, 0,
				       "%s: %s: '%s' must be 1 to %d letters, digits, '.', '_' or '-', starting with a "
				       "letter or digit",
				       path, idents[i].key, idents[i].value, IDENT_ID_MAX);
	return 0;
}

static int check_meaning(const char *path, const struct settings *settings, struct err *err)
{
	bool is_null = strcmp(settings->vmm, "null") == 0;

	if (log_level_parse(settings->log_level) < 0)
		return err_set(err, ERR_INPUT, 0, "%s: log_level: write debug, info, warn or error", path);
	if (settings->state_dir[0] != '/' || settings->libexec_dir[0] != '/')
		return err_set(err, ERR_INPUT, 0, "%s: state_dir and libexec_dir must be absolute paths", path);
	if (!is_null && strcmp(settings->vmm, "qemu") != 0)
		return err_set(err, ERR_INPUT, 0, "%s: vmm: '%s' is not a driver; write qemu", path, settings->vmm);
	if (is_null && !settings->allow_null_vmm)
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

static int check_doors(const char *path, const struct settings *settings, struct err *err)
{
	const struct kafka_properties properties = { .pairs = &settings->kafka, .source = path };
	int r = redis_settings_check(&settings->redis, path, err);

	return r < 0 ? r : kafka_properties_check(&properties, err);
}

int settings_load(const char *path, struct settings *ret, struct err *err)
{
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	if (r == 0)
		r = check_meaning(path, ret, err);
	if (r == 0)
		r = check_idents(path, ret, err);
	if (r == 0)
		r = check_doors(path, ret, err);
	ret->path = path;
	return r < 0 ? r : check_uids(path, ret, err);
}
