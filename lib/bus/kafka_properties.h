/* What an operator wants librdkafka to be told beyond our own settings: how to get into a cluster that has TLS, SASL and ACLs.
 * They come as `kafka.<property> = value` from a daemon's configuration, as `-X property=value` from a command line, or from a
 * file of `property=value` lines (kcat's format), and every handle that is made afterwards in this process has them: a process
 * speaks to one cluster.
 *
 * <property>_file is the property with what is in that file. A property that holds a secret comes from a file only, never from
 * a command line or a configuration that everybody may read. librdkafka keeps copies of secrets in its own memory; the process
 * is not dumpable and leaves no core.
 *
 * What the delivery guarantees rest on is refused by name: it is ours. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/conf.h"
#include "base/err.h"

#define KAFKA_PROPERTIES_FILE_MAX_BYTES (64 * 1024) /* of a file of properties, a secret, a certificate */

struct kafka_properties {
	const struct conf_pairs *pairs;
	const char *file;   /* of property=value lines; "": none */
	const char *source; /* names the file of pairs with a line, in messages; the others are from a command line */
};

/* Are the pairs known, well formed and not ours? Opens no file. ERR_INPUT names file and line, or option. */
int kafka_properties_check(const struct kafka_properties *properties, struct err *err);

enum kafka_files {
	KAFKA_FILES_BY_PATH, /* librdkafka opens certificates itself, whenever it needs them */
	KAFKA_FILES_HELD,    /* read now, because this process will be another user, which may not */
};

/* Check, read what files are named, and use the properties from now on, in place of those before. Not while another thread makes
 * a handle. ERR_INPUT as above, also for a file that cannot be read. */
int kafka_properties_use(const struct kafka_properties *properties, enum kafka_files files, struct err *err);

/* A configuration with the properties in use: what every handle begins with. */
rd_kafka_conf_t *kafka_properties_conf(void);

/* Is it one of those that are ours? *ret_reason says why. */
bool kafka_property_is_ours(const char *name, const char **ret_reason);
