#include "worker/credentials.h"

#include <stdio.h>

#include "base/own.h"
#include "wire/ledger.h"

int credentials_check(const struct settings *settings, const struct redis_endpoint *redis, const struct topics *topics,
		      const char *transactional_id, struct err *err)
{
	const struct fleet_settings *fleet = &settings->fleet;
	char ledger_group[LEDGER_GROUP_MAX];
	const char *const reads[] = { topics->tasks, topics->control, topics->results, topics->dead };
	const char *const writes[] = { topics->results, topics->output, topics->dead };
	const char *const groups[] = { ledger_group, fleet->group };
	const struct access_needs needs = { .brokers = fleet->brokers,
					    .reads = reads,
					    .n_reads = ARRAY_SIZE(reads),
					    .writes = writes,
					    .n_writes = ARRAY_SIZE(writes),
					    .groups = groups,
					    .n_groups = ARRAY_SIZE(groups),
					    .transactional_id = transactional_id };

	ledger_group_name(fleet->group, ledger_group);
	return fleet_credentials_check(fleet, &needs, 0, redis, err);
}
