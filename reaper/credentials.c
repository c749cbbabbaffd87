#include "reaper/credentials.h"

#include <stdio.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/topics.h"
#include "wire/ledger.h"

#define PATIENCE_MS 3000 /* for brokers to answer; the reaper starts without them, too */

int credentials_check_main(const struct reaper_settings *settings, const struct redis_endpoint *redis)
{
	const struct fleet_settings *fleet = &settings->fleet;
	char ledger_group[LEDGER_GROUP_MAX];
	struct topics topics;
	const char *const reads[] = { topics.tasks, topics.results };
	const char *const writes[] = { topics.results };
	const char *const groups[] = { fleet->group, ledger_group };
	const struct access_needs needs = { .brokers = fleet->brokers,
					    .reads = reads,
					    .n_reads = ARRAY_SIZE(reads),
					    .writes = writes,
					    .n_writes = ARRAY_SIZE(writes),
					    .groups = groups,
					    .n_groups = ARRAY_SIZE(groups),
					    .transactional_id = ledger_group };
	struct err err;

	topics_name(fleet->topic_prefix, &topics);
	ledger_group_name(fleet->group, ledger_group);
	if (fleet_credentials_check(fleet, &needs, PATIENCE_MS, redis, &err) == 0)
		return 0;
	log_error("reaper.start", "message=\"%s\"", err.msg);
	return ACCESS_EXIT_REFUSED;
}
