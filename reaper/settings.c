#include "reaper/settings.h"

#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_properties.h"

#define TEXT(name, preset_)                                                                  \
	{                                                                                    \
#name, CONF_TYPE_TEXT, offsetof(struct reaper_settings, name), 0, 0, preset_ \
	}
#define UINT(name, min_, max_, preset_)                                                            \
	{                                                                                          \
#name, CONF_TYPE_UINT, offsetof(struct reaper_settings, name), min_, max_, preset_ \
	}

static const struct conf_key keys[] = {
	TEXT(brokers, NULL),
	TEXT(topic_prefix, "mayfly"),
	TEXT(group, "mayfly"),
	TEXT(redis_host, "127.0.0.1"),
	UINT(redis_port, 1, 65535, "6379"),
	REDIS_DOOR_KEYS(struct reaper_settings),
	{ "kafka.", CONF_TYPE_PAIRS, offsetof(struct reaper_settings, kafka), 0, 0, NULL },
	TEXT(kafka_config_file, ""),
	TEXT(host, NULL),
	TEXT(state_dir, "/var/lib/mayfly"),
	TEXT(libexec_dir, "/usr/libexec/mayfly"),
	UINT(lease_ms, 1000, 600000, "10000"),
	UINT(grace_ms, 100, 600000, "5000"),
	UINT(scan_ms, 50, 60000, "1000"),
	UINT(lost_after_ms, 1000, 86400000, "60000"),
	UINT(max_attempts, 1, 100, "3"),
	UINT(engine_uid, 1, 4000000000u, "64201"),
	TEXT(log_level, "info"),
};

static int check_idents(const char *path, const struct reaper_settings *settings, struct err *err)
{
	const struct {
		const char *key, *value;
	} idents[] = { { "topic_prefix", settings->topic_prefix },
		       { "group", settings->group },
		       { "host", settings->host } };

	for (size_t i = 0; i < ARRAY_SIZE(idents); i++)
		if (!ident_is_id(idents[i].value, strlen(idents[i].value)))
			return err_set(err, ERR_INPUT, 0,
				       "%s: %s: '%s' must be 1 to %d letters, digits, '.', '_' or '-', starting with a "
				       "letter or digit",
				       path, idents[i].key, idents[i].value, IDENT_ID_MAX);
	return 0;
}

static int check_credentials(const char *path, const struct reaper_settings *settings, struct err *err)
{
	const struct kafka_properties properties = { .pairs = &settings->kafka, .source = path };
	int r = redis_settings_check(&settings->redis, path, err);

	return r < 0 ? r : kafka_properties_check(&properties, err);
}

int reaper_settings_load(const char *path, struct reaper_settings *ret, struct err *err)
{
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	if (r < 0)
		return r;
	if (log_level_parse(ret->log_level) < 0)
		return err_set(err, ERR_INPUT, 0, "%s: log_level: write debug, info, warn or error", path);
	if (ret->state_dir[0] != '/' || ret->libexec_dir[0] != '/')
		return err_set(err, ERR_INPUT, 0, "%s: state_dir and libexec_dir must be absolute paths", path);
	r = check_idents(path, ret, err);
	ret->path = path;
	return r < 0 ? r : check_credentials(path, ret, err);
}
