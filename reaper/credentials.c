#include "reaper/credentials.h"

#include "base/log.h"
#include "base/own.h"
#include "bus/access.h"
#include "bus/kafka_properties.h"
#include "bus/topics.h"
#include "wire/ledger.h"

#define PATIENCE_MS 3000 /* for brokers to answer; the reaper starts without them, too */
#define KAFKA_MS    10000
#define REDIS_MS    2000

int credentials_load(const struct reaper_settings *settings, struct redis_door **ret_redis, struct err *err)
{
	const struct kafka_properties properties = { .pairs = &settings->kafka,
						     .file = settings->kafka_config_file,
						     .source = settings->path };
	int r = kafka_properties_use(&properties, KAFKA_FILES_HELD, err);

	return r < 0 ? r :
		       redis_door_new(settings->redis_host, (unsigned)settings->redis_port, &settings->redis, ret_redis, err);
}

static int check_kafka(const struct reaper_settings *settings, struct err *err)
{
	struct topics topics;
	char ledger_group[CONF_TEXT_MAX + 16];
	const char *const reads[] = { topics.tasks, topics.results };
	const char *const writes[] = { topics.results };
	const char *const groups[] = { settings->group, ledger_group };
	const struct access_needs needs = { .brokers = settings->brokers,
					    .reads = reads,
					    .n_reads = ARRAY_SIZE(reads),
					    .writes = writes,
					    .n_writes = ARRAY_SIZE(writes),
					    .groups = groups,
					    .n_groups = ARRAY_SIZE(groups),
					    .transactional_id = ledger_group };
	int r = access_reach(settings->brokers, PATIENCE_MS, err);

	topics_name(settings->topic_prefix, &topics);
	(void)snprintf(ledger_group, sizeof(ledger_group), LEDGER_GROUP_FORMAT, settings->group); /* fits */
	return r < 0 ? r : access_check(&needs, KAFKA_MS, err);
}

int credentials_check_main(const struct reaper_settings *settings, const struct redis_door *redis)
{
	struct err err = { 0 };
	int r = check_kafka(settings, &err);

	if (r < 0 && err.kind != ERR_INPUT) {
		log_warn("credentials.kafka", "message=\"%s; waiting for it\"", err.msg);
		r = 0;
	}
	if (r == 0)
		r = redis_door_check(redis, settings->topic_prefix, REDIS_MS, &err);
	if (r < 0 && err.kind != ERR_INPUT) {
		log_warn("credentials.redis", "message=\"%s; waiting for it\"", err.msg);
		r = 0;
	}
	if (r < 0)
		log_error("reaper.start", "message=\"%s\"", err.msg);
	return r < 0 ? ACCESS_EXIT_REFUSED : 0;
}
