/* A handle's configuration has three layers, each over the one before: the operator's properties, what all our
 * handles have, and the pairs of the one at hand. An operator cannot set what a pair sets: that is refused by name
 * when the properties are read.
 *
 * Threads: librdkafka's threads call on_log() only. Everything else comes on queues, or from within our own calls. */
#include "bus/kafka_conf.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/thread.h"
#include "bus/kafka_properties.h"

#define SYSLOG_WARNING 4
#define REPEAT_MS	60000 /* a warning that comes again within it is for those who debug */
#define SAID_MAX	16

struct kafka_wake {
	rd_kafka_queue_t *queue;
	int fd;
	struct event *event;
	void (*fn)(void *ctx);
	void *ctx;
};

/* What librdkafka's threads have warned of. */
static struct {
	uint64_t likeness, mono_ms;
} said[SAID_MAX];
static pthread_mutex_t said_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Takes the place of the oldest. */
static bool is_repeated(const char *text)
{
	uint64_t likeness = log_likeness(text), now = clock_mono_ms();
	size_t place = 0;
	bool result;

	(void)pthread_mutex_lock(&said_mutex);
	for (size_t i = 0; i < SAID_MAX && said[place].likeness != likeness; i++)
		if (said[i].likeness == likeness || said[i].mono_ms < said[place].mono_ms)
			place = i;
	result = said[place].likeness == likeness && now - said[place].mono_ms < REPEAT_MS;
	if (!result) {
		said[place].likeness = likeness;
		said[place].mono_ms = now;
	}
	(void)pthread_mutex_unlock(&said_mutex);
	return result;
}

/* Not for everybody: a property of a consumer that a producer has no use for, or the other way round; a fatal error, which the call
 * that meets it tells. */
static bool is_routine(const char *facility)
{
	return strcmp(facility, "CONFWARN") == 0 || strcmp(facility, "FATAL") == 0;
}

static void on_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
	bool is_loud = level <= SYSLOG_WARNING && !is_routine(facility) && !is_repeated(text);

	(void)kafka;
	log_event(is_loud ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "kafka", "facility=%s message=\"%s\"", facility, text);
}

/* client.id is a name in the broker's log: an operator's comes first. */
static bool is_taken(const rd_kafka_conf_t *conf, const char *key)
{
	char value[8] = "";
	size_t size = sizeof(value);

	return strcmp(key, "client.id") == 0 && rd_kafka_conf_get(conf, key, value, &size) == RD_KAFKA_CONF_OK &&
	       strncmp(value, "rdkafka", sizeof(value) - 1) != 0;
}

static int fill(rd_kafka_conf_t *conf, const struct kafka_pair *pairs, size_t n_pairs, struct err *err)
{
	char why[200];

	for (size_t i = 0; i < n_pairs; i++) {
		/* What is set here cannot be set by an operator as well: it is refused by name. */
		assert(strcmp(pairs[i].key, "client.id") == 0 || kafka_property_is_ours(pairs[i].key, NULL));
		if (is_taken(conf, pairs[i].key))
			continue;
		if (rd_kafka_conf_set(conf, pairs[i].key, pairs[i].value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
			return err_set(err, ERR_HOST, 0, "librdkafka refused %s = %s: %s", pairs[i].key, pairs[i].value, why);
	}
	return 0;
}

/* Takes `conf`. */
static int make(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct err *err)
{
	sigset_t before;
	char why[200];

	thread_block_signals(&before);
	*ret = rd_kafka_new(type, conf, why, sizeof(why));
	thread_restore_signals(&before);
	if (*ret)
		return 0;
	rd_kafka_conf_destroy(conf);
	return err_set(err, ERR_INPUT, 0, "make a Kafka client: %s", why); /* properties that do not go together, a file */
}

static int prepare(const struct kafka_pair *pairs, size_t n_pairs, void *opaque, rd_kafka_conf_t **ret, struct err *err)
{
	/* A producer that asks for a topic makes it, by librdkafka's default: topics are made by topics_ensure() alone. */
	static const struct kafka_pair ours[] = { { "allow.auto.create.topics", "false" } };
	rd_kafka_conf_t *conf = kafka_properties_conf();
	int r = fill(conf, ours, ARRAY_SIZE(ours), err);

	if (r == 0)
		r = fill(conf, pairs, n_pairs, err);
	if (r < 0) {
		rd_kafka_conf_destroy(conf);
		return r;
	}
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_opaque(conf, opaque);
	*ret = conf;
	return 0;
}

int kafka_new(rd_kafka_type_t type, const struct kafka_pair *pairs, size_t n_pairs, int events, void *opaque,
	      rd_kafka_t **ret, struct err *err)
{
	rd_kafka_conf_t *conf;
	int r = prepare(pairs, n_pairs, opaque, &conf, err);

	if (r < 0)
		return r;
	rd_kafka_conf_set_events(conf, events);
	return make(type, conf, ret, err);
}

int kafka_new_reporting(const struct kafka_pair *pairs, size_t n_pairs,
			void (*on_delivered)(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque),
			void *opaque, rd_kafka_t **ret, struct err *err)
{
	rd_kafka_conf_t *conf;
	int r = prepare(pairs, n_pairs, opaque, &conf, err);

	if (r < 0)
		return r;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
	return make(RD_KAFKA_PRODUCER, conf, ret, err);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct kafka_wake *wake = arg;
	uint64_t ticks;

	(void)what;
	if (read(fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		log_warn("kafka.wake", "errno=%d", errno);
	wake->fn(wake->ctx);
}

int kafka_wake_new(struct event_base *base, rd_kafka_queue_t *queue, void (*fn)(void *ctx), void *ctx,
		   struct kafka_wake **ret, struct err *err)
{
	static const uint64_t one = 1;
	struct kafka_wake *wake = calloc(1, sizeof(*wake));

	if (!wake) {
		rd_kafka_queue_destroy(queue);
		return err_set(err, ERR_HOST, ENOMEM, "watch a Kafka queue");
	}
	wake->queue = queue;
	wake->fn = fn;
	wake->ctx = ctx;
	wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (wake->fd >= 0)
		wake->event = event_new(base, wake->fd, EV_READ | EV_PERSIST, on_readable, wake);
	if (!wake->event || event_add(wake->event, NULL) < 0) {
		kafka_wake_free(wake);
		return err_set(err, ERR_HOST, ENOMEM, "watch a Kafka queue");
	}
	rd_kafka_queue_io_event_enable(queue, wake->fd, &one, sizeof(one));
	event_active(wake->event, EV_READ, 0);
	*ret = wake;
	return 0;
}

void kafka_wake_again(struct kafka_wake *wake)
{
	event_active(wake->event, EV_READ, 0);
}

void kafka_wake_free(struct kafka_wake *wake)
{
	if (!wake)
		return;
	rd_kafka_queue_io_event_enable(wake->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(wake->queue);
	if (wake->event)
		event_free(wake->event);
	close_fd(&wake->fd);
	free(wake);
}
