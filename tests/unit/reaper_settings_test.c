/* The configuration that is shipped, and what is refused. */
#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reaper/settings.h"

static int load_text(const char *text, struct reaper_settings *settings, struct err *err)
{
	char path[] = "/tmp/mayfly-settings.XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	r = reaper_settings_load(path, settings, err);
	(void)unlink(path);
	return r;
}

/* Also with every default written out. */
static void test_shipped_file_loads(void **state)
{
	static struct reaper_settings shipped, written;
	char text[8192], *out = text;
	FILE *file = fopen(SHIPPED, "r");
	char line[512];
	struct err err;

	(void)state;
	assert_int_equal(reaper_settings_load(SHIPPED, &shipped, &err), 0);
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
		{ "host = h\n", "brokers" },
		{ "brokers = b\n", "host" },
		{ "brokers = b\nhost = ../x\n", "host" },
		{ "brokers = b\nhost = h\nstate_dir = here\n", "state_dir" },
		{ "brokers = b\nhost = h\nlog_level = loud\n", "log_level" },
		{ "brokers = b\nhost = h\ngrace_ms = 1\n", "grace_ms" },
		{ "brokers = b\nhost = h\nslots = 1\n", "slots" },
	};
	struct reaper_settings settings;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(load_text(bad[i][0], &settings, &err) < 0);
		assert_int_equal(err.kind, ERR_INPUT);
		assert_non_null(strstr(err.msg, bad[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shipped_file_loads),
					    cmocka_unit_test(test_refusals_name_the_key) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
