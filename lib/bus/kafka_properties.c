#include "bus/kafka_properties.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/own.h"

#define FILE_SUFFIX	"_file"
#define LOCATION_SUFFIX ".location"
#define HELD_MAX	8 /* descriptors: librdkafka knows five properties that are a location */

static const char setting_reason[] = "it is one of Mayfly's own settings";
static const char once_reason[] = "that every result is told exactly once rests on it";
static const char offset_reason[] = "that no task is lost or run twice rests on how offsets are read and committed";
static const char member_reason[] = "how the workers of a group share its tasks rests on it";
static const char flow_reason[] = "the flow of records is balanced with it";
static const char code_reason[] = "it loads or runs other programs' code, which the daemons may not";
static const char broker_reason[] = "it would put something else in the place of the cluster";
static const char answer_reason[] = "it would withhold what Mayfly waits for: Kafka's word for each record, or news";
static const char place_reason[] = "a task's records are looked for in the partition that its id gives";
static const char topic_reason[] = "it would hide topics that Mayfly needs";
static const char signal_reason[] = "it would send signals to Mayfly's threads";
static const char log_reason[] = "the log is Mayfly's; see log_level";

/* Aliases, too. All that is set in this folder and in tools/client.c is here: kafka_conf.c sees to that. */
static const struct {
	const char *name, *reason;
} ours[] = {
	{ "bootstrap.servers", setting_reason },
	{ "metadata.broker.list", setting_reason },
	{ "group.id", setting_reason },
	{ "group.instance.id", setting_reason },
	{ "log_level", log_reason },
	{ "log.queue", log_reason },
	{ "transactional.id", once_reason },
	{ "transaction.timeout.ms", once_reason },
	{ "enable.idempotence", once_reason },
	{ "enable.gapless.guarantee", once_reason },
	{ "acks", once_reason },
	{ "request.required.acks", once_reason },
	{ "retries", once_reason },
	{ "message.send.max.retries", once_reason },
	{ "max.in.flight", once_reason },
	{ "max.in.flight.requests.per.connection", once_reason },
	{ "message.timeout.ms", once_reason },
	{ "delivery.timeout.ms", once_reason },
	{ "queuing.strategy", once_reason },
	{ "isolation.level", once_reason },
	{ "api.version.request", once_reason },
	{ "broker.version.fallback", once_reason },
	{ "enable.auto.commit", offset_reason },
	{ "auto.commit.enable", offset_reason },
	{ "auto.commit.interval.ms", offset_reason },
	{ "enable.auto.offset.store", offset_reason },
	{ "auto.offset.reset", offset_reason },
	{ "offset.store.method", offset_reason },
	{ "offset.store.path", offset_reason },
	{ "offset.store.sync.interval.ms", offset_reason },
	{ "enable.partition.eof", offset_reason },
	{ "delivery.report.only.error", answer_reason },
	{ "enabled_events", answer_reason },
	{ "partitioner", place_reason },
	{ "topic.blacklist", topic_reason },
	{ "internal.termination.signal", signal_reason },
	{ "partition.assignment.strategy", member_reason },
	{ "group.protocol", member_reason },
	{ "group.protocol.type", member_reason },
	{ "group.remote.assignor", member_reason },
	{ "session.timeout.ms", member_reason },
	{ "heartbeat.interval.ms", member_reason },
	{ "max.poll.interval.ms", member_reason },
	{ "allow.auto.create.topics", member_reason },
	{ "linger.ms", flow_reason },
	{ "queue.buffering.max.ms", flow_reason },
	{ "queue.buffering.max.messages", flow_reason },
	{ "queue.buffering.max.kbytes", flow_reason },
	{ "message.max.bytes", flow_reason },
	{ "compression.type", flow_reason },
	{ "compression.codec", flow_reason },
	{ "retry.backoff.ms", flow_reason },
	{ "reconnect.backoff.max.ms", flow_reason },
	{ "queued.min.messages", flow_reason },
	{ "queued.max.messages.kbytes", flow_reason },
	{ "fetch.wait.max.ms", flow_reason },
	{ "fetch.error.backoff.ms", flow_reason },
	{ "plugin.library.paths", code_reason },
	{ "ssl.engine.location", code_reason },
	{ "ssl.providers", code_reason },
	{ "sasl.kerberos.kinit.cmd", code_reason },
	{ "test.mock.num.brokers", broker_reason },
	{ "test.mock.broker.rtt", broker_reason },
};

static const char *const secret_words[] = { "password", "secret", "ssl.key.pem", "sasl.oauthbearer.config" };

/* The configuration in use, and the files that it names by descriptor: they stay open, a handle may be made at any time. */
static rd_kafka_conf_t *in_use;
static int held_fds[HELD_MAX];
static size_t n_held;

bool kafka_property_is_ours(const char *name, const char **ret_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (strcmp(ours[i].name, name) != 0)
			continue;
		if (ret_reason)
			*ret_reason = ours[i].reason;
		return true;
	}
	return false;
}

static bool is_secret(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(secret_words); i++)
		if (strstr(name, secret_words[i]))
			return true;
	return false;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n && strcmp(name + len - n, suffix) == 0;
}

/* One property as it is being taken. */
struct property {
	char name[CONF_KEY_MAX]; /* without _file */
	const char *value;
	bool is_file;	       /* `value` is a path */
	bool may_be_secret;    /* what it comes from is not for everybody's eyes */
	const char *where;     /* for messages: "worker.conf:12: kafka.", "-X " */
};

static int check_name(const struct property *property, struct err *err)
{
	const char *reason;

	if (kafka_property_is_ours(property->name, &reason))
		return err_set(err, ERR_INPUT, 0, "%s%s cannot be set: %s", property->where, property->name, reason);
	if (is_secret(property->name) && !property->is_file && !property->may_be_secret)
		return err_set(err, ERR_INPUT, 0,
			       "%s%s holds a secret, which others could read here: put it into a file and write %s" FILE_SUFFIX
			       " = FILE",
			       property->where, property->name, property->name);
	return 0;
}

static int set(rd_kafka_conf_t *conf, const struct property *property, const char *value, struct err *err)
{
	char why[160];

	if (rd_kafka_conf_set(conf, property->name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return 0;
	if (is_secret(property->name)) /* librdkafka may quote the value */
		return err_set(err, ERR_INPUT, 0, "%s%s: librdkafka takes no such value, or has no such property",
			       property->where, property->name);
	return err_set(err, ERR_INPUT, 0, "%s%s: %s", property->where, property->name, why);
}

/* NUL-terminated, on the heap; `text_wipe` frees it. */
static int read_file(const char *path, char **ret, size_t *ret_len, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : malloc(KAFKA_PROPERTIES_FILE_MAX_BYTES + 1);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0 || !text)
		return err_set(err, ERR_INPUT, fd < 0 ? errno : ENOMEM, "open '%.150s'", path);
	while (len <= KAFKA_PROPERTIES_FILE_MAX_BYTES && (n = read(fd, text + len, KAFKA_PROPERTIES_FILE_MAX_BYTES + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0 || len > KAFKA_PROPERTIES_FILE_MAX_BYTES || memchr(text, '\0', len)) {
		int errnum = n < 0 ? errno : 0;

		explicit_bzero(text, KAFKA_PROPERTIES_FILE_MAX_BYTES + 1);
		free(text);
		return err_set(err, ERR_INPUT, errnum, "'%.150s' %s", path,
			       n < 0 ? "cannot be read" : "is larger than 64 KiB, or holds a NUL");
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

static void text_wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, KAFKA_PROPERTIES_FILE_MAX_BYTES + 1);
	free(*text);
	*text = NULL;
}

static int set_from_file(rd_kafka_conf_t *conf, const struct property *property, struct err *err)
{
	cleanup_(text_wipe) char *text = NULL;
	size_t len;
	int r = read_file(property->value, &text, &len, err);

	if (r < 0)
		return err_wrap(err, "%s%s" FILE_SUFFIX, property->where, property->name);
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (!len)
		return err_set(err, ERR_INPUT, 0, "%s%s" FILE_SUFFIX ": '%.150s' is empty", property->where, property->name,
			       property->value);
	return set(conf, property, text, err);
}

/* The file's bytes in memory of this process, which it can open again by /proc whoever it is then. */
static int hold(const char *path, char out[64], struct err *err)
{
	cleanup_(text_wipe) char *text = NULL;
	cleanup_fd int fd = -1;
	size_t len;
	int r = read_file(path, &text, &len, err);

	if (r < 0)
		return r;
	if (n_held == HELD_MAX)
		return err_set(err, ERR_INPUT, 0, "'%.150s' is one file too many", path);
	fd = memfd_create("kafka", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_set(err, ERR_HOST, errno, "keep '%.150s' in memory", path);
	(void)snprintf(out, 64, "/proc/self/fd/%d", fd);
	held_fds[n_held++] = take_fd(&fd);
	return 0;
}

static bool is_regular(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int set_location(rd_kafka_conf_t *conf, const struct property *property, struct err *err)
{
	char held[64];
	int r;

	if (access(property->value, R_OK) < 0 && strcmp(property->value, "probe") != 0)
		return err_set(err, ERR_INPUT, errno, "%s%s: open '%.120s'", property->where, property->name, property->value);
	if (!is_regular(property->value)) /* a folder is looked into whenever librdkafka verifies */
		return set(conf, property, property->value, err);
	r = hold(property->value, held, err);
	return r < 0 ? err_wrap(err, "%s%s", property->where, property->name) : set(conf, property, held, err);
}

enum take { TAKE_NAMES, TAKE_BY_PATH, TAKE_HELD };

static int take(rd_kafka_conf_t *conf, enum take take, struct property *property, const char *key, struct err *err)
{
	int r;

	property->is_file = has_suffix(key, FILE_SUFFIX);
	(void)snprintf(property->name, sizeof(property->name), "%.*s",
		       (int)(strlen(key) - (property->is_file ? strlen(FILE_SUFFIX) : 0)), key);
	r = check_name(property, err);
	if (r < 0)
		return r;
	if (!*property->value)
		return err_set(err, ERR_INPUT, 0, "%s%s has no value", property->where, key);
	if (property->is_file)
		return take == TAKE_NAMES ? 0 : set_from_file(conf, property, err);
	if (take == TAKE_HELD && has_suffix(property->name, LOCATION_SUFFIX))
		return set_location(conf, property, err);
	return set(conf, property, property->value, err);
}

static int take_pairs(rd_kafka_conf_t *conf, enum take how, const struct kafka_properties *properties, struct err *err)
{
	const struct conf_pairs *pairs = properties->pairs;
	int r = 0;

	for (size_t i = 0; pairs && i < pairs->n && r == 0; i++) {
		char where[200] = "-X ";
		struct property property = { .value = pairs->list[i].value, .where = where };

		if (properties->source && pairs->list[i].line)
			(void)snprintf(where, sizeof(where), "%.150s:%u: kafka.", properties->source, pairs->list[i].line);
		r = take(conf, how, &property, pairs->list[i].key, err);
	}
	return r;
}

static char *trim(char *text, char *end)
{
	while (text < end && strchr(" \t\r", *text))
		text++;
	while (end > text && strchr(" \t\r", end[-1]))
		end--;
	*end = '\0';
	return text;
}

/* `line` is ours to cut. */
static int take_line(rd_kafka_conf_t *conf, enum take how, const char *path, unsigned number, char *line, struct err *err)
{
	char where[200];
	char *equals, *key, *end = line + strlen(line);
	struct property property = { .where = where, .may_be_secret = true };

	(void)snprintf(where, sizeof(where), "%.150s:%u: ", path, number);
	line = trim(line, end);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return err_set(err, ERR_INPUT, 0, "%swrite property=value", where);
	property.value = trim(equals + 1, equals + strlen(equals));
	key = trim(line, equals);
	if (!*key || strlen(key) >= CONF_KEY_MAX)
		return err_set(err, ERR_INPUT, 0, "%sa property's name has 1 to %d characters", where, CONF_KEY_MAX - 1);
	return take(conf, how, &property, key, err);
}

static int take_file(rd_kafka_conf_t *conf, enum take how, const char *path, struct err *err)
{
	cleanup_(text_wipe) char *text = NULL;
	char *line, *rest;
	size_t len;
	unsigned number = 0;
	int r = read_file(path, &text, &len, err);

	if (r < 0)
		return err_wrap(err, "Kafka's properties");
	for (rest = text; r == 0 && (line = strsep(&rest, "\n"));)
		r = take_line(conf, how, path, ++number, line, err);
	return r;
}

static void let_go(size_t first, size_t n)
{
	for (size_t i = first; i < n; i++)
		close_fd(&held_fds[i]);
}

int kafka_properties_check(const struct kafka_properties *properties, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int r = take_pairs(conf, TAKE_NAMES, properties, err);

	rd_kafka_conf_destroy(conf);
	return r;
}

int kafka_properties_use(const struct kafka_properties *properties, enum kafka_files files, struct err *err)
{
	enum take how = files == KAFKA_FILES_HELD ? TAKE_HELD : TAKE_BY_PATH;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	size_t n_before = n_held;
	int r = 0;

	if (properties->file && *properties->file)
		r = take_file(conf, how, properties->file, err);
	if (r == 0) /* what is written here is said after what is in the file */
		r = take_pairs(conf, how, properties, err);
	if (r < 0) {
		let_go(n_before, n_held);
		n_held = n_before;
		rd_kafka_conf_destroy(conf);
		return r;
	}
	let_go(0, n_before);
	memmove(held_fds, held_fds + n_before, (n_held - n_before) * sizeof(held_fds[0]));
	n_held -= n_before;
	if (in_use)
		rd_kafka_conf_destroy(in_use);
	in_use = conf;
	return 0;
}

rd_kafka_conf_t *kafka_properties_conf(void)
{
	return in_use ? rd_kafka_conf_dup(in_use) : rd_kafka_conf_new();
}
