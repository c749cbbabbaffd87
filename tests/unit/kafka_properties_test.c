#include "bus/kafka_properties.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/kafka_conf.h"
#include "tests/unit/unit.h"

static struct conf_pairs pairs;

static void give(const char *key, const char *value, unsigned line)
{
	struct err err;

	assert_int_equal(conf_pairs_add(&pairs, line, key, value, &err), 0);
}

static char *write_file(const char *text)
{
	static char path[] = "/tmp/mayfly-properties.XXXXXX";
	int fd;

	memcpy(path + strlen(path) - 6, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
	return path;
}

static void assert_value(const char *name, const char *value)
{
	rd_kafka_conf_t *conf = kafka_properties_conf();
	char got[256];
	size_t size = sizeof(got);

	assert_int_equal(rd_kafka_conf_get(conf, name, got, &size), RD_KAFKA_CONF_OK);
	assert_string_equal(got, value);
	rd_kafka_conf_destroy(conf);
}

static void assert_says(int r, const struct err *err, const char *what)
{
	assert_true(r < 0);
	assert_int_equal(err->kind, ERR_INPUT);
	if (!strstr(err->msg, what))
		fail_msg("'%s' does not say '%s'", err->msg, what);
}

static void refused(const char *key, const char *value, unsigned line, const char *what)
{
	const struct kafka_properties properties = { .pairs = &pairs, .source = "w.conf" };
	struct err err = { 0 };

	pairs.n = 0;
	give(key, value, line);
	assert_says(kafka_properties_check(&properties, &err), &err, what);
	assert_null(strstr(err.msg, "hunter2"));
}

static void test_refusals_name_the_place_and_never_the_secret(void **state)
{
	static const char *const pointers[] = { "dr_cb",	 "dr_msg_cb",	  "partitioner_cb", "rebalance_cb",
						"consume_cb",	 "opaque",	  "interceptors",   "background_event_cb",
						"offset_commit_cb", "error_cb", "log_cb",	  "default_topic_conf",
						"msg_order_cmp" };

	(void)state;
	refused("enable.idempotence", "false", 7, "w.conf:7: kafka.enable.idempotence cannot be set: ");
	refused("acks", "1", 0, "-X acks cannot be set: ");
	refused("group.id", "x", 1, "Mayfly's own settings");
	refused("plugin.library.paths", "/tmp/x.so", 1, "other programs' code");
	refused("transactional.id_file", "/etc/passwd", 1, "transactional.id cannot be set");
	refused("delivery.report.only.error", "true", 7, "w.conf:7: kafka.delivery.report.only.error cannot be set: it would withhold");
	refused("delivery.report.only.error", "true", 0, "Kafka's word for each record");
	refused("enabled_events", "0", 1, "enabled_events cannot be set");
	refused("partitioner", "murmur2_random", 1, "in the partition that its id gives");
	refused("queuing.strategy", "lifo", 1, "told exactly once");
	refused("topic.blacklist", ".*", 1, "hide topics");
	refused("internal.termination.signal", "9", 1, "signals");
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		refused(pointers[i], "x", 1, pointers[i]); /* librdkafka's to refuse: text is no function */
	refused("no.such.thing", "x", 3, "w.conf:3: kafka.no.such.thing: No such configuration property");
	refused("security.protocol", "tls", 3, "w.conf:3: kafka.security.protocol: Invalid value \"tls\"");
	refused("security.protocol", "", 3, "has no value");
	refused("sasl.password", "hunter2", 3, "sasl.password_file = FILE");
	refused("ssl.key.password", "hunter2", 0, "-X ssl.key.password holds a secret");
	refused("ssl.key.pem", "hunter2", 3, "holds a secret");
	refused("sasl.oauthbearer.client.secret", "hunter2", 3, "holds a secret");
}

static void test_a_secret_comes_from_its_file(void **state)
{
	const struct kafka_properties properties = { .pairs = &pairs, .source = "w.conf" };
	char *path = write_file("hunter2\n");
	struct err err;

	(void)state;
	pairs.n = 0;
	give("security.protocol", "SASL_SSL", 1);
	give("sasl.password_file", path, 2);
	assert_int_equal(kafka_properties_check(&properties, &err), 0);
	assert_int_equal(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), 0);
	assert_value("sasl.password", "hunter2");
	assert_value("security.protocol", "sasl_ssl");
	assert_int_equal(unlink(path), 0);
	assert_says(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), &err, "w.conf:2: kafka.sasl.password_file: open '");
	assert_value("sasl.password", "hunter2"); /* what was in use stays */
}

static void test_a_file_of_properties(void **state)
{
	char *path = write_file("# kcat reads it, too\n\n security.protocol = SASL_SSL\r\nsasl.username=u\nsasl.password=hun=ter2\n");
	const struct kafka_properties properties = { .pairs = &pairs, .file = path };
	struct err err;

	(void)state;
	pairs.n = 0;
	give("sasl.username", "v", 0);
	assert_int_equal(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), 0);
	assert_value("sasl.password", "hun=ter2");
	assert_value("sasl.username", "v"); /* what is said here is said last */
	assert_int_equal(unlink(path), 0);
	path = write_file("security.protocol=SASL_SSL\nenable.auto.commit=true\n");
	pairs.n = 0;
	assert_says(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), &err, ":2: enable.auto.commit cannot be set");
	assert_int_equal(unlink(path), 0);
	path = write_file("just words\n");
	assert_says(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), &err, ":1: write property=value");
	assert_int_equal(unlink(path), 0);
	assert_says(kafka_properties_use(&properties, KAFKA_FILES_BY_PATH, &err), &err, "open '");
}

/* Held files are read by another name, which does not need the file any more. */
static void test_locations_are_held(void **state)
{
	const struct kafka_properties properties = { .pairs = &pairs };
	char *path = write_file("a certificate\n"), text[64] = "", at[256];
	size_t size = sizeof(at);
	rd_kafka_conf_t *conf;
	struct err err;
	int fd;

	(void)state;
	pairs.n = 0;
	give("ssl.ca.location", path, 0);
	assert_int_equal(kafka_properties_use(&properties, KAFKA_FILES_HELD, &err), 0);
	assert_int_equal(unlink(path), 0);
	for (int i = 0; i < 2; i++) { /* as often as a handle is made */
		conf = kafka_properties_conf();
		assert_int_equal(rd_kafka_conf_get(conf, "ssl.ca.location", at, &size), RD_KAFKA_CONF_OK);
		fd = open(at, O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, text, sizeof(text)), strlen("a certificate\n"));
		assert_string_equal(text, "a certificate\n");
		assert_int_equal(close(fd), 0);
		rd_kafka_conf_destroy(conf);
	}
	assert_says(kafka_properties_use(&properties, KAFKA_FILES_HELD, &err), &err, "ssl.ca.location: open '");
	pairs.n = 0;
	give("ssl.ca.location", "/", 0); /* a folder is looked into later */
	assert_int_equal(kafka_properties_use(&properties, KAFKA_FILES_HELD, &err), 0);
	assert_value("ssl.ca.location", "/");
	pairs.n = 0;
	assert_int_equal(kafka_properties_use(&properties, KAFKA_FILES_HELD, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_name_the_place_and_never_the_secret),
		cmocka_unit_test(test_a_secret_comes_from_its_file),
		cmocka_unit_test(test_a_file_of_properties),
		cmocka_unit_test(test_locations_are_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
