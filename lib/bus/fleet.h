/* Which fleet a process belongs to, and how it gets in there: Kafka, Redis, and the names of what is the fleet's in them.
 * Worker, reaper and command read the same rows of a configuration, and go in the same way:
 *
 *   as root         fleet_credentials_load(): reads passwords and certificates, keeps them
 *   confined        fleet_credentials_check(): may we do there all that we have to?
 *   from then on    every Kafka handle of the process, and whoever has the redis_endpoint, is let in */
#pragma once

#include "base/conf.h"
#include "base/err.h"
#include "bus/access.h"
#include "bus/kafka_properties.h"
#include "bus/redis_endpoint.h"

struct fleet_settings {
	const char *path; /* of the file that all this is from; NULL: none */
	char brokers[CONF_TEXT_MAX];
	char topic_prefix[CONF_TEXT_MAX]; /* of topics, and of keys in Redis */
	char group[CONF_TEXT_MAX];	  /* of the workers */
	char kafka_config_file[CONF_TEXT_MAX];
	struct conf_pairs kafka; /* for librdkafka (bus/kafka_properties.h) */
	struct redis_settings redis;
};

/* The rows for a member `fleet` of the settings `of`; who can do without brokers and prefix has "" for them. */
#define FLEET_ROWS(of, brokers_preset, prefix_preset)                                                                  \
	CONF_ROW(of, "brokers", CONF_TYPE_TEXT, fleet.brokers, brokers_preset),                                        \
		CONF_ROW(of, "topic_prefix", CONF_TYPE_IDENT, fleet.topic_prefix, prefix_preset),                      \
		CONF_ROW(of, "group", CONF_TYPE_IDENT, fleet.group, "mayfly"),                                         \
		CONF_ROW(of, "kafka_config_file", CONF_TYPE_TEXT, fleet.kafka_config_file, ""),                        \
		CONF_ROW(of, "kafka.", CONF_TYPE_PAIRS, fleet.kafka, NULL), REDIS_ROWS(of, fleet.redis)

/* Do they go together, and can this build do it? Opens no file. ERR_INPUT names the key, and the settings' file. */
int fleet_settings_check(const struct fleet_settings *fleet, struct err *err);

/* Every Kafka handle that is made from now on in this process goes in as these settings say. */
int fleet_use_kafka(const struct fleet_settings *fleet, enum kafka_files files, struct err *err);

/* As root: reads every file that is named. ERR_INPUT: one cannot be read, or holds no such thing. */
int fleet_credentials_load(const struct fleet_settings *fleet, struct redis_endpoint **ret_redis, struct err *err);

/* Are we let in, and may we do all that we need? ERR_INPUT: no. One that does not answer is only logged: it is waited for later.
 * `patience_ms`: for brokers to answer at all; 0: they have just done so. */
int fleet_credentials_check(const struct fleet_settings *fleet, const struct access_needs *needs, unsigned patience_ms,
			    const struct redis_endpoint *redis, struct err *err);
