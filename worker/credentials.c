#include "worker/credentials.h"

#include <stdio.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/access.h"
#include "bus/kafka_properties.h"
#include "wire/ledger.h"

#define KAFKA_MS 10000
#define REDIS_MS 2000

int credentials_load(const struct settings *settings, struct redis_door **ret_redis, struct err *err)
{
	const struct kafka_properties properties = { .pairs = &settings->kafka,
						     .file = settings->kafka_config_file,
						     .source = settings->path };
	int r = kafka_properties_use(&properties, KAFKA_FILES_HELD, err);

	return r < 0 ? r :
		       redis_door_new(settings->redis_host, (unsigned)settings->redis_port, &settings->redis, ret_redis, err);
}

static int check_redis(const struct settings *settings, const struct redis_door *redis, struct err *err)
{
	int r = redis_door_check(redis, settings->topic_prefix, REDIS_MS, err);

	if (r == 0 || err->kind == ERR_INPUT)
		return r;
	log_warn("credentials.redis", "message=\"%s; waiting for it\"", err->msg);
	return 0;
}

int credentials_check(const struct settings *settings, const struct redis_door *redis, const struct topics *topics,
		const char *transactional_id, struct err *err)
{
	char ledger_group[CONF_TEXT_MAX + sizeof(LEDGER_GROUP_FORMAT)];
	const char *const reads[] = { topics->tasks, topics->control, topics->results, topics->dead };
	const char *const writes[] = { topics->results, topics->output, topics->dead };
	const char *const groups[] = { ledger_group, settings->group };
	const struct access_needs needs = { .brokers = settings->brokers,
					    .reads = reads,
					    .n_reads = ARRAY_SIZE(reads),
					    .writes = writes,
					    .n_writes = ARRAY_SIZE(writes),
					    .groups = groups,
					    .n_groups = ARRAY_SIZE(groups),
					    .transactional_id = transactional_id };
	int r;

	(void)snprintf(ledger_group, sizeof(ledger_group), LEDGER_GROUP_FORMAT, settings->group);
	r = access_check(&needs, KAFKA_MS, err);

	if (r < 0 && err->kind != ERR_INPUT) { /* it answered a moment ago, and will again */
		log_warn("credentials.kafka", "message=\"%s\"", err->msg);
		r = 0;
	}
	return r < 0 ? r : check_redis(settings, redis, err);
}
