/* Which fleet a command talks to: Kafka, Redis, the prefix of their names, and the state directory of this host. From the
 * environment, then from the options that every command takes. */
#pragma once

#include <getopt.h>

#include "base/err.h"
#include "bus/fleet.h"
#include "host/names.h"

struct target {
	struct fleet_settings fleet;
	char state_dir[sizeof(((struct host_place *)NULL)->state_dir)]; /* absolute */
};

enum target_option {
	TARGET_OPTION_FIRST = 1000,
	TARGET_OPTION_BROKERS = TARGET_OPTION_FIRST,
	TARGET_OPTION_REDIS,
	TARGET_OPTION_PREFIX,
	TARGET_OPTION_STATE,
	TARGET_OPTION_CONFIG,
	TARGET_OPTION_KAFKA_CONFIG,
	TARGET_OPTION_PROPERTY,
	TARGET_OPTION_REDIS_USER,
	TARGET_OPTION_REDIS_PASSWORD
};

/* The options of one letter, for getopt_long(3); and which option a letter is, 0: none of these. */
#define TARGET_LETTERS "X:F:"
int target_letter(int letter);

#define TARGET_OPTIONS                                                       \
	{ "brokers", required_argument, NULL, TARGET_OPTION_BROKERS },       \
		{ "redis", required_argument, NULL, TARGET_OPTION_REDIS },   \
		{ "prefix", required_argument, NULL, TARGET_OPTION_PREFIX }, \
		{ "config", required_argument, NULL, TARGET_OPTION_CONFIG }, \
		{ "kafka-config", required_argument, NULL, TARGET_OPTION_KAFKA_CONFIG }, \
		{ "redis-user", required_argument, NULL, TARGET_OPTION_REDIS_USER }, \
		{ "redis-password-file", required_argument, NULL, TARGET_OPTION_REDIS_PASSWORD }, \
	{                                                                    \
		"state", required_argument, NULL, TARGET_OPTION_STATE        \
	}

extern const char *const target_usage;

/* From MAYFLY_CONFIG, MAYFLY_BROKERS and the other variables of target_usage, or the private stack of `mayfly dev`. */
int target_init(struct target *target, struct err *err);

/* One of the options above. ERR_INPUT says what is wrong with the value. */
int target_take(struct target *target, int option, const char *value, struct err *err);

/* The path of this build's program `name`: in the folder `room` ("worker") of a build tree, or where an installed
 * mayfly has it. `out` holds PATH_MAX. ERR_HOST when it is not there. */
int target_program(const char *room, const char *name, char out[PATH_MAX], struct err *err);

/* The folder of mayfly-guard and mayfly-jail. */
int target_libexec(char out[PATH_MAX], struct err *err);
