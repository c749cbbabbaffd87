/* Names of topics, and making them where they are missing. */
#pragma once

#include "base/err.h"

#define TOPICS_SOURCES 1

struct topics {
	char tasks[128], results[128], output[128], dead[128], control[128];
	const char *sources[TOPICS_SOURCES]; /* whose records are tasks. They point into this struct: it stays where it is */
};

/* <prefix>.tasks and so on; prefix is "mayfly" unless configured. */
void topics_name(const char *prefix, struct topics *ret);

/* The pointer to this name among the sources; NULL: it is none of them. */
const char *topics_find_source(const struct topics *topics, const char *name);

/* Create what is missing (tasks: `partitions`; control: 1 partition kept 10 minutes; the others: `partitions`),
 * replication as the broker's default. Blocks up to timeout_ms, retrying while no broker answers. */
int topics_ensure(const char *brokers, const struct topics *topics, int partitions, unsigned timeout_ms, struct err *err);
