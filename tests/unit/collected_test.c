#include "tools/collected.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char folder[] = "/tmp/mayfly-collected.XXXXXX";
static char into[sizeof(folder) + 8];
static char outside[sizeof(folder) + 16];

static void keep(void *ctx, const char *message)
{
	(void)err_set(ctx, ERR_INPUT, 0, "%s", message);
}

static int write_one(const char *path, const char *text, const char *asked, struct err *err)
{
	struct result_file file = {
		.path = (char *)(uintptr_t)path, .data = (uint8_t *)(uintptr_t)text, .len = strlen(text), .mode = 06755
	};
	struct result result = { .files = &file, .n_files = 1 };
	struct task_text name = { .text = (char *)(uintptr_t)asked };

	file.size = file.len;
	return collected_write(&result, &name, 1, into, keep, err) ? 0 : -1;
}

static void assert_holds(const char *path, const char *text)
{
	char line[64] = "";
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, text);
	assert_int_equal(fclose(file), 0);
}

static void in_folder(const char *name, char out[256])
{
	(void)snprintf(out, 256, "%s/%s", into, name);
}

static void test_a_file_in_new_folders(void **state)
{
	char path[256];
	struct stat st;
	struct err err;

	(void)state;
	assert_int_equal(write_one("a/b/c.txt", "text", "a/b/c.txt", &err), 0);
	in_folder("a/b/c.txt", path);
	assert_holds(path, "text");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755); /* neither set-id bits nor writable for others */
}

static void test_it_replaces_a_file(void **state)
{
	char path[256];
	struct err err;

	(void)state;
	assert_int_equal(write_one("twice", "old", "twice", &err), 0);
	assert_int_equal(write_one("twice", "new", "twice", &err), 0);
	in_folder("twice", path);
	assert_holds(path, "new");
}

static void test_what_was_not_asked_for_is_not_written(void **state)
{
	char path[256];
	struct err err;

	(void)state;
	assert_int_equal(write_one(".bashrc", "evil", "out.txt", &err), 0);
	in_folder(".bashrc", path);
	assert_int_equal(access(path, F_OK), -1);
}

/* The decoder refuses such paths already; this is the second lock. */
static void test_no_way_out_of_the_folder(void **state)
{
	static const char *const paths[] = { "../outside", "a/../../outside", "link/outside", "..", "a/.." };
	char path[256];
	struct err err;

	(void)state;
	in_folder("link", path);
	assert_int_equal(symlink("..", path), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_true(write_one(paths[i], "evil", paths[i], &err) < 0);
		assert_int_equal(access(outside, F_OK), -1);
	}
}

/* A link in the place of the file is replaced, not followed. */
static void test_a_link_in_its_place(void **state)
{
	char path[256];
	struct stat st;
	struct err err;

	(void)state;
	in_folder("trap", path);
	assert_int_equal(symlink("../outside", path), 0);
	assert_int_equal(write_one("trap", "text", "trap", &err), 0);
	assert_int_equal(access(outside, F_OK), -1);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_what_did_not_come_is_said(void **state)
{
	struct result_file file = { .path = (char *)(uintptr_t) "gone", .error = "no such file" };
	struct result_file large = { .path = (char *)(uintptr_t) "large", .size = 1 << 20 };
	struct result result = { .files = &file, .n_files = 1 };
	struct task_text gone = { .text = file.path }, big = { .text = large.path };
	struct err err;

	(void)state;
	assert_false(collected_write(&result, &gone, 1, into, keep, &err));
	assert_non_null(strstr(err.msg, "gone was not collected: no such file"));
	result.files = &large;
	assert_false(collected_write(&result, &big, 1, into, keep, &err));
	assert_non_null(strstr(err.msg, "1048576 bytes"));
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(into, sizeof(into), "%s/into", folder);
	(void)snprintf(outside, sizeof(outside), "%s/outside", folder);
	return 0;
}

static int tear_down(void **state)
{
	char command[sizeof(folder) + 16];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_in_new_folders),
		cmocka_unit_test(test_it_replaces_a_file),
		cmocka_unit_test(test_what_was_not_asked_for_is_not_written),
		cmocka_unit_test(test_no_way_out_of_the_folder),
		cmocka_unit_test(test_a_link_in_its_place),
		cmocka_unit_test(test_what_did_not_come_is_said),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
