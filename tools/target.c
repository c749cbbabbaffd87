#include "tools/target.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "bus/kafka_properties.h"

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
	    (size_t)(colon - value) >= sizeof(target->redis_host))
		return err_set(err, ERR_INPUT, 0, "--redis '%.100s' must be HOST:PORT, or the absolute path of a socket", value);
	(void)snprintf(target->redis_host, sizeof(target->redis_host), "%.*s", (int)(colon - value), value);
	target->redis_port = (unsigned)port;
	return 0;
}

static int take_redis(struct target *target, const char *value, struct err *err)
{
	if (value[0] == '/')
		return take_text(target->redis.socket, sizeof(target->redis.socket), "--redis", value, err);
	target->redis.socket[0] = '\0';
	return take_redis_host(target, value, err);
}

static int take_prefix(struct target *target, const char *value, struct err *err)
{
	if (!ident_is_id(value, strlen(value)))
		return err_set(err, ERR_INPUT, 0, "--prefix '%.100s' must be 1 to %d letters, digits, '.', '_' or '-'",
			       value, IDENT_ID_MAX);
	return take_text(target->prefix, sizeof(target->prefix), "--prefix", value, err);
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
	for (size_t i = 0; i < target->kafka.n; i++)
		if (strcmp(target->kafka.list[i].key, key) == 0)
			target->kafka.list[i] = target->kafka.list[--target->kafka.n];
	return conf_pairs_add(&target->kafka, line, key, value, err);
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

/* What of a daemon's configuration says where its fleet is; the rest is the daemon's. */
struct config {
	char brokers[CONF_TEXT_MAX], topic_prefix[CONF_TEXT_MAX], redis_host[CONF_TEXT_MAX], kafka_config_file[CONF_TEXT_MAX];
	uint64_t redis_port;
	struct redis_settings redis;
	struct conf_pairs kafka, others;
};

static int take_config(struct target *target, const char *path, struct err *err)
{
	static const struct conf_key keys[] = {
		{ "brokers", CONF_TYPE_TEXT, offsetof(struct config, brokers), 0, 0, "" },
		{ "topic_prefix", CONF_TYPE_TEXT, offsetof(struct config, topic_prefix), 0, 0, "" },
		{ "redis_host", CONF_TYPE_TEXT, offsetof(struct config, redis_host), 0, 0, "127.0.0.1" },
		{ "redis_port", CONF_TYPE_UINT, offsetof(struct config, redis_port), 1, 65535, "6379" },
		REDIS_DOOR_KEYS(struct config),
		{ "kafka.", CONF_TYPE_PAIRS, offsetof(struct config, kafka), 0, 0, NULL },
		{ "kafka_config_file", CONF_TYPE_TEXT, offsetof(struct config, kafka_config_file), 0, 0, "" },
		{ "", CONF_TYPE_PAIRS, offsetof(struct config, others), 0, 0, NULL },
	};
	static struct config config;
	const struct kafka_properties properties = { .pairs = &config.kafka, .source = path };
	int r = take_text(target->config, sizeof(target->config), "--config", path, err);

	if (r == 0)
		r = conf_load(path, keys, sizeof(keys) / sizeof(keys[0]), &config, err);
	if (r == 0)
		r = redis_settings_check(&config.redis, path, err);
	if (r == 0)
		r = kafka_properties_check(&properties, err);
	if (r == 0 && config.brokers[0])
		r = take_text(target->brokers, sizeof(target->brokers), "brokers", config.brokers, err);
	if (r == 0 && config.topic_prefix[0])
		r = take_prefix(target, config.topic_prefix, err);
	for (size_t i = 0; i < config.kafka.n && r == 0; i++)
		r = put_pair(target, config.kafka.list[i].line, config.kafka.list[i].key, config.kafka.list[i].value, err);
	if (r < 0)
		return r;
	(void)snprintf(target->redis_host, sizeof(target->redis_host), "%s", config.redis_host);
	target->redis_port = (unsigned)config.redis_port;
	target->redis = config.redis;
	memcpy(target->kafka_config_file, config.kafka_config_file, sizeof(target->kafka_config_file));
	return 0;
}

int target_letter(int letter)
{
	return letter == 'X' ? TARGET_OPTION_PROPERTY : letter == 'F' ? TARGET_OPTION_KAFKA_CONFIG : 0;
}

int target_redis(const struct target *target, struct redis_door **ret, struct err *err)
{
	return redis_door_new(target->redis_host, target->redis_port, &target->redis, ret, err);
}

int target_take(struct target *target, int option, const char *value, struct err *err)
{
	switch (option) {
	case TARGET_OPTION_BROKERS:
		return take_text(target->brokers, sizeof(target->brokers), "--brokers", value, err);
	case TARGET_OPTION_REDIS:
		return take_redis(target, value, err);
	case TARGET_OPTION_PREFIX:
		return take_prefix(target, value, err);
	case TARGET_OPTION_STATE:
		return take_state(target, value, err);
	case TARGET_OPTION_CONFIG:
		return take_config(target, value, err);
	case TARGET_OPTION_KAFKA_CONFIG:
		return take_text(target->kafka_config_file, sizeof(target->kafka_config_file), "--kafka-config", value, err);
	case TARGET_OPTION_PROPERTY:
		return take_property(target, value, err);
	case TARGET_OPTION_REDIS_USER:
		return take_text(target->redis.user, sizeof(target->redis.user), "--redis-user", value, err);
	case TARGET_OPTION_REDIS_PASSWORD:
		return take_text(target->redis.password_file, sizeof(target->redis.password_file), "--redis-password-file",
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

	*target = (struct target){
		.brokers = "127.0.0.1:29092", .redis_host = "127.0.0.1", .redis_port = 26379, .prefix = "mayfly"
	};
	preset_state(target->state_dir, sizeof(target->state_dir));
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
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
