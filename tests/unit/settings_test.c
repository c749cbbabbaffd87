/* The configuration that is shipped, and what is refused. */
#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/settings.h"

#define GOOD "brokers = b\nhost = h\nworker = w\n"

static int load_text(const char *text, struct settings *settings, struct err *err)
{
	char path[] = "/tmp/mayfly-settings.XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	r = settings_load(path, settings, err);
	(void)unlink(path);
	return r;
}

/* Also with every default written out. */
static void test_shipped_file_loads(void **state)
{
	static struct settings shipped, written;
	char text[8192], *out = text;
	FILE *file = fopen(SHIPPED, "r");
	char line[512];
	struct err err;

	(void)state;
	assert_int_equal(settings_load(SHIPPED, &shipped, &err), 0);
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		bool is_default = line[0] == '#' && line[1] != ' ';

		out += snprintf(out, (size_t)(text + sizeof(text) - out), "%s", line + is_default);
	}
	(void)fclose(file);
	assert_int_equal(load_text(text, &written, &err), 0);
	written.fleet.path = shipped.fleet.path;
	assert_memory_equal(&shipped, &written, sizeof(shipped));
}

static void test_refusals_name_the_key(void **state)
{
	static const char *const bad[][2] = {
		{ "host = h\nworker = w\n", "brokers" },
		{ "brokers = b\nhost = h\n", "worker" },
		{ "brokers = b\nhost = ../x\nworker = w\n", "host" },
		{ GOOD "state_dir = here\n", "state_dir" },
		{ GOOD "log_level = loud\n", "log_level" },
		{ GOOD "slots = 0\n", "slots" },
		{ GOOD "slots = 10001\n", "slots" },
		{ GOOD "grace_ms = 1\n", "grace_ms" },
		{ GOOD "vmm = null\n", "allow_null_vmm" },
		{ GOOD "kafka.acks = 1\n", "kafka.acks cannot be set" },
		{ GOOD "kafka.sasl.password = x\n", "sasl.password_file" },
		{ GOOD "kafka.nope = x\n", "No such configuration property" },
		{ GOOD "redis_socket = run/x\n", "redis_socket: write an absolute path" },
		{ GOOD "redis_user = u\n", "redis_password_file" },
		{ GOOD "redis_tls_name = n\n", "redis_tls = yes" },
		{ GOOD "redis_tls = yes\nredis_socket = /x\n", "redis_tls: there is no TLS on a Unix socket" },
		{ GOOD "vmm = xen\n", "vmm" },
		{ GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 1000\n", "engine_uid" },
		{ GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 1004\n", "engine_uid" },
		{ GOOD "slots = 2000\n", "slot_uid_base" },
		{ GOOD "slots = 1\nslot_uid_base = 65532\n", "slot_uid_base" },
		{ GOOD "slots = 1\nslot_uid_base = 65531\n", "slot_uid_base" },
		{ GOOD "engine_uid = 65533\n", "engine_uid" },
		{ GOOD "engine_uid = 65532\n", "engine_uid" },
		{ GOOD "engine_uid = 65531\n", "engine_uid" },
	};
	struct settings settings;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(load_text(bad[i][0], &settings, &err) < 0);
		assert_int_equal(err.kind, ERR_INPUT);
		assert_non_null(strstr(err.msg, bad[i][1]));
	}
}

static void test_uids_beside_each_other_are_fine(void **state)
{
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(load_text(GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 1005\n", &settings, &err), 0);
	assert_int_equal(load_text(GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 999\n", &settings, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shipped_file_loads),
					    cmocka_unit_test(test_refusals_name_the_key),
					    cmocka_unit_test(test_uids_beside_each_other_are_fine) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
