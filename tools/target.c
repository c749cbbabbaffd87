#include "tools/target.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ident.h"
#include "base/own.h"

#define INSTALLED_STATE	  "/var/lib/mayfly"
#define INSTALLED_LIBEXEC "/usr/libexec/mayfly"

const char *const target_usage =
	"Options of every command:\n"
	"  --brokers LIST     Kafka, HOST:PORT[,...]   (MAYFLY_BROKERS; 127.0.0.1:29092)\n"
	"  --redis PLACE      Redis, HOST:PORT or the path of its socket (MAYFLY_REDIS; 127.0.0.1:26379)\n"
	"  --prefix NAME      of topics and keys       (MAYFLY_PREFIX; mayfly)\n"
	"  --state DIR        state of this host       (MAYFLY_STATE; .mayfly of the source tree, else " INSTALLED_STATE
	")\n"
	"  -X PROPERTY=VALUE  for librdkafka, as kcat's, say security.protocol=SASL_SSL; repeat. PROPERTY_file=PATH takes the\n"
	"                     value from a file: secrets go only so, or into\n"
	"  -F, --kafka-config FILE     lines of PROPERTY=VALUE     (MAYFLY_KAFKA_CONFIG)\n"
	"  --redis-user NAME  (MAYFLY_REDIS_USER)   --redis-password-file FILE  (MAYFLY_REDIS_PASSWORD_FILE)\n"
	"  --config FILE      all of these as in a worker.conf, TLS to Redis too  (MAYFLY_CONFIG); what comes later wins\n"
	"  --help\n";

/* The folder of this executable, without a slash at the end. */
static int own_folder(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return -ENOENT;
	out[n] = '\0';
	slash = strrchr(out, '/');
	*slash = '\0';
	return 0;
}

/* <tree>/build/<preset>/tools is where a built mayfly lies. */
static void preset_state(char *out, size_t size)
{
	char folder[PATH_MAX], mark[PATH_MAX + 32], tree[PATH_MAX];

	(void)snprintf(out, size, "%s", INSTALLED_STATE);
	if (own_folder(folder) < 0)
		return;
	(void)snprintf(mark, sizeof(mark), "%s/../../../tools/quickstart", folder);
	if (access(mark, R_OK) < 0)
		return;
	(void)snprintf(mark, sizeof(mark), "%s/../../..", folder);
	if (realpath(mark, tree) && strlen(tree) + sizeof("/.mayfly") <= size)
		(void)snprintf(out, size, "%.*s/.mayfly", (int)(size - sizeof("/.mayfly")), tree);
}

static int take_text(char *out, size_t size, const char *what, const char *value, struct err *err)
{
	if (!*value || strlen(value) >= size)
		return err_set(err, ERR_INPUT, 0, "%s must have 1 to %zu characters", what, size - 1);
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int take_redis_host(struct target *target, const char *value, struct err *err)
{
	const char *colon = strrchr(value, ':');
	char *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || colon == value || end == colon + 1 || *end || port < 1 || port > 65535 ||
	    (size_t)(colon - value) >= sizeof(target->fleet.redis.host))
		return err_set(err, ERR_INPUT, 0, "--redis '%.100s' must be HOST:PORT, or the absolute path of a socket", value);
	(void)snprintf(target->fleet.redis.host, sizeof(target->fleet.redis.host), "%.*s", (int)(colon - value), value);
	target->fleet.redis.port = port;
	return 0;
}

static int take_redis(struct target *target, const char *value, struct err *err)
{
	if (value[0] == '/')
		return take_text(target->fleet.redis.socket, sizeof(target->fleet.redis.socket), "--redis", value, err);
	target->fleet.redis.socket[0] = '\0';
	return take_redis_host(target, value, err);
}

static int take_prefix(struct target *target, const char *value, struct err *err)
{
	if (!ident_is_id(value, strlen(value)))
		return err_set(err, ERR_INPUT, 0, "--prefix '%.100s' must be 1 to %d letters, digits, '.', '_' or '-'",
			       value, IDENT_ID_MAX);
	return take_text(target->fleet.topic_prefix, sizeof(target->fleet.topic_prefix), "--prefix", value, err);
}

static int take_state(struct target *target, const char *value, struct err *err)
{
	char absolute[PATH_MAX], here[PATH_MAX];

	if (value[0] == '/')
		return take_text(target->state_dir, sizeof(target->state_dir), "--state", value, err);
	if (!getcwd(here, sizeof(here)))
		return err_set(err, ERR_HOST, errno, "the current directory");
	if ((size_t)snprintf(absolute, sizeof(absolute), "%s/%s", here, value) >= sizeof(absolute))
		return err_set(err, ERR_INPUT, 0, "--state is too long a path");
	return take_text(target->state_dir, sizeof(target->state_dir), "--state", absolute, err);
}

/* A later one takes the place of an earlier one. */
static int put_pair(struct target *target, unsigned line, const char *key, const char *value, struct err *err)
{
	for (size_t i = 0; i < target->fleet.kafka.n; i++)
		if (strcmp(target->fleet.kafka.list[i].key, key) == 0)
			target->fleet.kafka.list[i] = target->fleet.kafka.list[--target->fleet.kafka.n];
	return conf_pairs_add(&target->fleet.kafka, line, key, value, err);
}

static int take_property(struct target *target, const char *value, struct err *err)
{
	static struct conf_pairs one;
	const struct kafka_properties alone = { .pairs = &one };
	const char *equals = strchr(value, '=');
	char key[CONF_KEY_MAX];
	int r;

	if (!equals || (size_t)(equals - value) >= sizeof(key))
		return err_set(err, ERR_INPUT, 0, "-X '%.60s' must be PROPERTY=VALUE", value);
	(void)snprintf(key, sizeof(key), "%.*s", (int)(equals - value), value);
	one.n = 0;
	r = conf_pairs_add(&one, 0, key, equals + 1, err);
	if (r == 0)
		r = kafka_properties_check(&alone, err);
	return r == 0 ? put_pair(target, 0, key, equals + 1, err) : r;
}

/* The part of a daemon's configuration that says where its fleet is; `others` is the rest. */
struct config {
	struct fleet_settings fleet;
	struct conf_pairs others;
};

static int load_config(const char *path, struct config *ret, struct err *err)
{
	static const struct conf_key keys[] = {
		FLEET_ROWS(struct config, "", ""),
		CONF_ROW(struct config, "", CONF_TYPE_PAIRS, others, NULL),
	};
	int r = conf_load(path, keys, ARRAY_SIZE(keys), ret, err);

	ret->fleet.path = path;
	return r < 0 ? r : fleet_settings_check(&ret->fleet, err);
}

/* What the file leaves out stays as it is. Its properties are added to those that are there. */
static int take_config(struct target *target, const char *path, struct err *err)
{
	static struct config config;
	struct fleet_settings *fleet = &target->fleet;
	int r = load_config(path, &config, err);

	for (size_t i = 0; i < config.fleet.kafka.n && r == 0; i++) {
		const struct conf_pair *pair = &config.fleet.kafka.list[i];

		r = put_pair(target, pair->line, pair->key, pair->value, err);
	}
	if (r < 0)
		return r;
	if (config.fleet.brokers[0])
		memcpy(fleet->brokers, config.fleet.brokers, sizeof(fleet->brokers));
	if (config.fleet.topic_prefix[0])
		memcpy(fleet->topic_prefix, config.fleet.topic_prefix, sizeof(fleet->topic_prefix));
	memcpy(fleet->kafka_config_file, config.fleet.kafka_config_file, sizeof(fleet->kafka_config_file));
	fleet->redis = config.fleet.redis;
	fleet->path = path;
	return 0;
}

int target_letter(int letter)
{
	return letter == 'X' ? TARGET_OPTION_PROPERTY : letter == 'F' ? TARGET_OPTION_KAFKA_CONFIG : 0;
}

int target_take(struct target *target, int option, const char *value, struct err *err)
{
	switch (option) {
	case TARGET_OPTION_BROKERS:
		return take_text(target->fleet.brokers, sizeof(target->fleet.brokers), "--brokers", value, err);
	case TARGET_OPTION_REDIS:
		return take_redis(target, value, err);
	case TARGET_OPTION_PREFIX:
		return take_prefix(target, value, err);
	case TARGET_OPTION_STATE:
		return take_state(target, value, err);
	case TARGET_OPTION_CONFIG:
		return take_config(target, value, err);
	case TARGET_OPTION_KAFKA_CONFIG:
		return take_text(target->fleet.kafka_config_file, sizeof(target->fleet.kafka_config_file), "--kafka-config", value, err);
	case TARGET_OPTION_PROPERTY:
		return take_property(target, value, err);
	case TARGET_OPTION_REDIS_USER:
		return take_text(target->fleet.redis.user, sizeof(target->fleet.redis.user), "--redis-user", value, err);
	case TARGET_OPTION_REDIS_PASSWORD:
		return take_text(target->fleet.redis.password_file, sizeof(target->fleet.redis.password_file), "--redis-password-file",
				 value, err);
	default:
		return err_set(err, ERR_BUG, 0, "option %d has no meaning", option);
	}
}

int target_init(struct target *target, struct err *err)
{
	static const struct {
		const char *variable;
		enum target_option option;
	} variables[] = { { "MAYFLY_CONFIG", TARGET_OPTION_CONFIG },
			  { "MAYFLY_KAFKA_CONFIG", TARGET_OPTION_KAFKA_CONFIG },
			  { "MAYFLY_REDIS_USER", TARGET_OPTION_REDIS_USER },
			  { "MAYFLY_REDIS_PASSWORD_FILE", TARGET_OPTION_REDIS_PASSWORD },
			  { "MAYFLY_BROKERS", TARGET_OPTION_BROKERS },
			  { "MAYFLY_REDIS", TARGET_OPTION_REDIS },
			  { "MAYFLY_PREFIX", TARGET_OPTION_PREFIX },
			  { "MAYFLY_STATE", TARGET_OPTION_STATE } };

	*target = (struct target){ .fleet = { .brokers = "127.0.0.1:29092",
					      .topic_prefix = "mayfly",
					      .redis = { .host = "127.0.0.1", .port = 26379 } } };
	preset_state(target->state_dir, sizeof(target->state_dir));
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *value = getenv(variables[i].variable);

		if (value && *value && target_take(target, variables[i].option, value, err) < 0)
			return err_wrap(err, "%s", variables[i].variable);
	}
	return 0;
}

int target_program(const char *room, const char *name, char out[PATH_MAX], struct err *err)
{
	char folder[PATH_MAX], path[PATH_MAX + 128];

	if (own_folder(folder) == 0) {
		(void)snprintf(path, sizeof(path), "%s/../%s/%s", folder, room, name); /* a build tree */
		if (access(path, X_OK) == 0 && realpath(path, out))
			return 0;
		(void)snprintf(path, sizeof(path), "%s/../libexec/mayfly/%s", folder, name); /* <prefix>/bin */
		if (access(path, X_OK) == 0 && realpath(path, out))
			return 0;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", INSTALLED_LIBEXEC, name);
	if (access(path, X_OK) == 0 && realpath(path, out))
		return 0;
	return err_set(err, ERR_HOST, 0,
		       "'%s' is neither beside this mayfly nor in %s; build it: cmake --build --preset release", name,
		       INSTALLED_LIBEXEC);
}

int target_libexec(char out[PATH_MAX], struct err *err)
{
	int r = target_program("jail", "mayfly-guard", out, err);

	if (r < 0)
		return r;
	*strrchr(out, '/') = '\0';
	return 0;
}
