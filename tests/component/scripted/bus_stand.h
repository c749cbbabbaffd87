/* What a worker's engine stands on, for a test: a redis-server, librdkafka's mock cluster, tasks that are sent and terminal results that are
 * counted. The mock cluster shows readers what is in a transaction before its end and keeps what is aborted: no test that needs
 * either may use it. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/support/redis_server.h"
#include "wire/result.h"
#include "wire/task.h"

#define BUS_STAND_PREFIX "scripted"

struct told; /* what was told about one id */

struct bus_stand {
	struct redis_server redis;
	rd_kafka_t *producer, *consumer;
	struct rd_kafka_mock_cluster_s *cluster;
	struct told *told;
	size_t n_told;
};

/* Starts processes: before the first thread of the test. Fails the test itself. */
void bus_stand_open(struct bus_stand *stand);
void bus_stand_close(struct bus_stand *stand);

const char *bus_stand_brokers(const struct bus_stand *stand);
void bus_stand_send(struct bus_stand *stand, const struct task *task);

/* Take in what was told meanwhile; does not block. */
void bus_stand_read(struct bus_stand *stand);

/* Terminal results of `id` so far, and the last of them, NULL when there is none; it lives as long as the stand. */
size_t bus_stand_count(const struct bus_stand *stand, const char *id);
size_t bus_stand_most(const struct bus_stand *stand); /* of all ids */
const struct result *bus_stand_result(const struct bus_stand *stand, const char *id);
