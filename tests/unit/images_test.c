/* Which images have a program: as their lists say, and nothing when they say nothing. */
#include "host/images.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct host_place place;

static void write_list(const char *image, const char *text)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/images/%s", place.state_dir, image);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/images/%s/" NAMES_PROGRAMS, place.state_dir, image);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static int make(void **state)
{
	char path[PATH_MAX];

	(void)state;
	(void)snprintf(place.state_dir, sizeof(place.state_dir), "/tmp/mayfly-images.XXXXXX");
	assert_non_null(mkdtemp(place.state_dir));
	names_images_dir(&place, path);
	assert_int_equal(mkdir(path, 0755), 0);
	write_list("python", "python3\nsh\n");
	write_list("base", "awk\nsh");
	write_list("b2", "sh\n");
	write_list("a1", "sh\n");
	write_list("empty", "");
	write_list(".stage", "hidden\n");
	return 0;
}

static int clean(void **state)
{
	char command[PATH_MAX + 16];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", place.state_dir);
	return system(command);
}

static void assert_with(const char *program, const char *images)
{
	char out[128] = "before";

	images_with(&place, program, out, sizeof(out));
	assert_string_equal(out, images);
}

static void test_names(void **state)
{
	(void)state;
	assert_with("python3", "python");
	assert_with("awk", "base");
	assert_with("sh", "a1, b2, base and others");
}

/* A part of a name, several lines, a folder that is no image, none at all. */
static void test_nothing(void **state)
{
	struct host_place nowhere = { .state_dir = "/nonexistent" };
	char out[8] = "before";

	(void)state;
	assert_with("python", "");
	assert_with("ython3", "");
	assert_with("", "");
	assert_with("awk\nsh", "");
	assert_with("hidden", "");
	images_with(&nowhere, "sh", out, sizeof(out));
	assert_string_equal(out, "");
}

static void test_short_room(void **state)
{
	char out[6];

	(void)state;
	images_with(&place, "sh", out, sizeof(out));
	assert_string_equal(out, "a1, b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_short_room),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
