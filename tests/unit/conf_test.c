#include "base/conf.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "tests/unit/unit.h"

struct settings {
	char name[CONF_TEXT_MAX];
	uint64_t slots;
	bool is_open;
	char id[CONF_TEXT_MAX], other_id[CONF_TEXT_MAX], folder[CONF_TEXT_MAX];
	enum log_level level;
	struct conf_pairs doors;
};

static const struct conf_key keys[] = {
	{ "name", CONF_TYPE_TEXT, offsetof(struct settings, name), 0, 0, NULL },
	{ "slots", CONF_TYPE_UINT, offsetof(struct settings, slots), 1, 64, "2" },
	{ "open", CONF_TYPE_BOOL, offsetof(struct settings, is_open), 0, 0, "no" },
	{ "door.", CONF_TYPE_PAIRS, offsetof(struct settings, doors), 0, 0, NULL },
	CONF_ROW(struct settings, "id", CONF_TYPE_IDENT, id, "i"),
	CONF_ROW(struct settings, "other_id", CONF_TYPE_IDENT, other_id, ""),
	CONF_ROW(struct settings, "folder", CONF_TYPE_PATH, folder, "/f"),
	CONF_ROW(struct settings, "level", CONF_TYPE_LOG_LEVEL, level, "info"),
};

static int parse(const char *text, struct settings *settings, struct err *err)
{
	return conf_parse("test.conf", text, strlen(text), keys, ARRAY_SIZE(keys), settings, err);
}

static void assert_refused(const char *text, const char *because)
{
	struct settings settings;
	struct err err;

	assert_int_equal(parse(text, &settings, &err), -EINVAL);
	assert_int_equal(err.kind, ERR_INPUT);
	if (!strstr(err.msg, because))
		fail_msg("'%s' does not say '%s'", err.msg, because);
}

static void test_values_and_presets(void **state)
{
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(parse("# a comment\n\n  name = a b = c \r\n\topen=yes", &settings, &err), 0);
	assert_string_equal(settings.name, "a b = c");
	assert_int_equal(settings.slots, 2);
	assert_true(settings.is_open);
	assert_int_equal(parse("name=x\nslots=64\n", &settings, &err), 0);
	assert_int_equal(settings.slots, 64);
	assert_false(settings.is_open);
	assert_string_equal(settings.id, "i");
	assert_string_equal(settings.other_id, "");
	assert_string_equal(settings.folder, "/f");
	assert_int_equal(settings.level, LOG_LEVEL_INFO);
	assert_int_equal(parse("name=x\nid=A-1\nother_id=B\nfolder=/\nlevel=error\n", &settings, &err), 0);
	assert_string_equal(settings.id, "A-1");
	assert_string_equal(settings.other_id, "B");
	assert_string_equal(settings.folder, "/");
	assert_int_equal(settings.level, LOG_LEVEL_ERROR);
}

static void test_refusals_name_line_and_key(void **state)
{
	(void)state;
	assert_refused("", "'name' is missing");
	assert_refused("name=x\nslots=65", "test.conf:2: slots: write a whole number from 1 to 64");
	assert_refused("name=x\nslots=0", "slots");
	assert_refused("name=x\nslots=", "slots");
	assert_refused("name=x\nslots=-1", "slots");
	assert_refused("name=x\nslots=2k", "slots");
	assert_refused("name=x\nslots=18446744073709551617", "slots"); /* 1 when it wraps */
	assert_refused("name=x\nopen=maybe", "test.conf:2: open: write yes or no");
	assert_refused("name=x\nid=", "test.conf:2: id: write 1 to 64 letters");
	assert_refused("name=x\nother_id=../x", "other_id: write 1 to 64 letters");
	assert_refused("name=x\nfolder=here", "test.conf:2: folder: write an absolute path");
	assert_refused("name=x\nfolder=", "folder");
	assert_refused("name=x\nlevel=loud", "test.conf:2: level: write debug, info, warn or error");
	assert_refused("name=x\ncolour=red", "unknown key 'colour'");
	assert_refused("name=x\nname=y", "test.conf:2: name is given twice");
	assert_refused("name=x\njust text", "test.conf:2: write key = value");
}

static void test_keys_behind_a_prefix(void **state)
{
	char text[4096] = "name=x\n";
	struct settings settings;
	struct err err;

	(void)state;
	assert_int_equal(parse("name=x\ndoor.of.glass = open = wide\n\ndoor.b=\n", &settings, &err), 0);
	assert_int_equal(settings.doors.n, 2);
	assert_string_equal(settings.doors.list[0].key, "of.glass");
	assert_string_equal(settings.doors.list[0].value, "open = wide");
	assert_int_equal(settings.doors.list[1].line, 4);
	assert_int_equal(parse("name=x", &settings, &err), 0);
	assert_int_equal(settings.doors.n, 0);
	assert_refused("name=x\ndoor.a=1\ndoor.a=2", "test.conf:3: a is given twice");
	assert_refused("name=x\ndoor.=1", "test.conf:2");
	for (int i = 0; i <= CONF_PAIRS_MAX; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "door.%d=x\n", i);
	assert_refused(text, "32 is one too many");
}

static void test_long_and_binary_values(void **state)
{
	struct settings settings;
	struct err err;
	char text[400];

	(void)state;
	(void)snprintf(text, sizeof(text), "name=%0*d", CONF_TEXT_MAX - 1, 0);
	assert_int_equal(parse(text, &settings, &err), 0);
	(void)snprintf(text, sizeof(text), "name=%0*d", CONF_TEXT_MAX, 0);
	assert_refused(text, "longer than");
	assert_int_equal(conf_parse("f", "name=a\0b", 8, keys, 3, &settings, &err), -EINVAL);
}

static void test_load(void **state)
{
	char path[] = "/tmp/mayfly-conf-XXXXXX";
	struct settings settings;
	struct err err;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "name = x\n", 9), 9);
	assert_int_equal(conf_load(path, keys, 3, &settings, &err), 0);
	assert_int_equal(ftruncate(fd, CONF_FILE_MAX_BYTES + 1), 0);
	assert_true(conf_load(path, keys, 3, &settings, &err) < 0);
	assert_non_null(strstr(err.msg, "larger than"));
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(conf_load(path, keys, 3, &settings, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_presets),
		cmocka_unit_test(test_refusals_name_line_and_key),
		cmocka_unit_test(test_keys_behind_a_prefix),
		cmocka_unit_test(test_long_and_binary_values),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
