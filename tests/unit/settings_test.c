/* The configuration that is shipped, and what is refused. */
#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/settings.h"

#define GOOD "brokers = b\nhost = h\nworker = w\n"

static const struct host_limits host = { .cpus = 4,
					 .memory_mib = 8192,
					 .machine_mib = 8192,
					 .disk_free_mib = 65536,
					 .open_files = HOST_NO_LIMIT,
					 .processes = HOST_NO_LIMIT };

static int load_text(const char *text, struct settings *settings, struct err *err)
{
	char path[] = "/tmp/mayfly-settings.XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	r = settings_load(path, settings, err);
	if (r == 0)
		r = settings_fit(settings, &host, err);
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
	assert_int_equal(settings_fit(&shipped, &host, &err), 0);
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
		{ GOOD "vmm = null\nallow_null_vmm = yes\nslots = 2000\n", "slot_uid_base" },
		{ GOOD "slots = some\n", "slots: write auto, or a whole number from 1" },
		{ GOOD "memory_mib = 8193\n", "memory_mib: 8193 are more than the 8192 MiB that this host has; write less, or memory_mib = auto" },
		{ GOOD "slots = 22\n", "do not fit in memory_mib = 6144; write slots = 21, or memory_mib = 6336 or more" },
		{ GOOD "slots = 2\nmemory_mib = 300\n", "write slots = 1, or memory_mib = 576 or more" },
		{ GOOD "slots = 3\ndisk_mib = 150\n", "do not fit in disk_mib = 150; write slots = 2, or disk_mib = 192 or more" },
		{ GOOD "memory_floor_mib = 8192\n", "memory_floor_mib = auto" },
		{ GOOD "pressure_max = 101\n", "pressure_max" },
		{ GOOD "pressure_file = psi\n", "pressure_file" },
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
		if (!strstr(err.msg, bad[i][1]))
			fail_msg("'%s' is not in '%s'", bad[i][1], err.msg);
	}
}

static void test_uids_beside_each_other_are_fine(void **state)
{
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(load_text(GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 1006\n", &settings, &err), 0);
	assert_int_equal(load_text(GOOD "slots = 5\nslot_uid_base = 1000\nengine_uid = 999\n", &settings, &err), 0);
}

static void test_the_host_decides_what_is_left_to_it(void **state)
{
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(load_text(GOOD, &settings, &err), 0);
	assert_int_equal(settings.memory_mib, 6144);
	assert_int_equal(settings.disk_mib, 49152);
	assert_int_equal(settings.slots, 8);
	assert_int_equal(settings.template_memory_mib, 1024);
	assert_int_equal(settings.memory_floor_mib, 256);
	assert_int_equal(settings.cpus, 4);
	assert_int_equal(load_text(GOOD "memory_mib = 1344\n", &settings, &err), 0); /* what is left follows what is said */
	assert_int_equal(settings.slots, 3);
	assert_int_equal(settings.template_memory_mib, 336);
	assert_int_equal(load_text(GOOD "slots = 20\ndisk_mib = auto\n", &settings, &err), 0); /* what is said wins */
	assert_int_equal(settings.slots, 20);
	assert_int_equal(load_text(GOOD "slot_uid_base = 65528\n", &settings, &err), 0); /* three uids before the guards': one is a template's */
	assert_int_equal(settings.slots, 2);
	assert_int_equal(load_text(GOOD "slot_uid_base = 1000\nengine_uid = 1004\n", &settings, &err), 0);
	assert_int_equal(settings.slots, 3);
}

/* A disk that is full, memory that is little: it starts, and what does not work is seen when it is tried. */
static void test_a_poor_host_starts_too(void **state)
{
	const struct host_limits poor = { .cpus = 1, .memory_mib = 600, .open_files = 20, .processes = 20 };
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(load_text(GOOD, &settings, &err), 0);
	settings.slots = settings.memory_mib = settings.disk_mib = settings.memory_floor_mib = CONF_AUTO;
	assert_int_equal(settings_fit(&settings, &poor, &err), 0);
	assert_int_equal(settings.slots, 1);
	assert_int_equal(settings.memory_mib, 450);
	assert_int_equal(settings.disk_mib, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shipped_file_loads),
					    cmocka_unit_test(test_refusals_name_the_key),
					    cmocka_unit_test(test_uids_beside_each_other_are_fine),
					    cmocka_unit_test(test_the_host_decides_what_is_left_to_it),
					    cmocka_unit_test(test_a_poor_host_starts_too) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
