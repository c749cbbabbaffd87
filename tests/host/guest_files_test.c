/* Files into a real microVM and back: what is put, what is collected, and what is not. */
#include <string.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

static void put(const char *path, const char *text, size_t at, size_t len, bool is_last)
{
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT,
					    .exec = exec + 1,
					    .path = TEXT(path),
					    .mode = 0640,
					    .offset = at,
					    .data = (const uint8_t *)text + at,
					    .len = len,
					    .is_last = is_last });
}

static void collect(const char *const *names, size_t n, uint64_t limit_bytes)
{
	struct frame_text paths[8];

	assert_true(n <= ARRAY_SIZE(paths));
	for (size_t i = 0; i < n; i++)
		paths[i] = (struct frame_text)TEXT(names[i]);
	guest_vm_send(&vm, &(struct frame){
				   .type = FRAME_COLLECT, .exec = exec, .paths = paths, .n_paths = n,
					.limit_bytes = limit_bytes });
}

/* The next file is `path` with this content; or, with content NULL, could not be read. */
static void expect_file(const char *path, const char *content)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_FILE);

	assert_int_equal(frame->path.len, strlen(path));
	assert_memory_equal(frame->path.text, path, frame->path.len);
	assert_true(frame->is_last);
	if (!content) {
		assert_true(frame->error.len > 0);
		assert_int_equal(frame->len, 0);
		return;
	}
	assert_int_equal(frame->error.len, 0);
	assert_int_equal(frame->size, strlen(content));
	assert_int_equal(frame->len, strlen(content));
	assert_memory_equal(frame->data, content, frame->len);
}

static void test_files(void **state)
{
	static const char *const names[] = { "deep/er/in.txt", "out.txt" };

	(void)state;
	put("deep/er/in.txt", "in two pieces\n", 0, 7, false);
	put("deep/er/in.txt", "in two pieces\n", 7, 7, true);
	put("empty", "", 0, 0, true);
	run_script("cat deep/er/in.txt; stat -c '%a %u %s' deep/er/in.txt empty; tr a-z A-Z <deep/er/in.txt >out.txt");
	assert_exit(0);
	assert_out("in two pieces\n640 1000 14\n640 1000 0\n");
	collect(names, ARRAY_SIZE(names), 1000);
	expect_file("deep/er/in.txt", "in two pieces\n");
	expect_file("out.txt", "IN TWO PIECES\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* The links lead to what does exist where the agent lives (its initrd), and to what may be collected by its own name. */
static void test_collect_of_what_is_no_file(void **state)
{
	static const char *const names[] = { "fifo",	"link",	  "through/order", "inner",
					     "missing", "folder", "secret",	   "good" };

	(void)state;
	run_script(
		"mkfifo fifo; ln -s /init link; ln -s /modules through; ln -s good inner; mkdir folder; echo 1 >secret;"
		"chmod 0 secret; echo good >good");
	assert_exit(0);
	collect(names, ARRAY_SIZE(names), 64 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(names) - 1; i++)
		expect_file(names[i], NULL);
	expect_file("good", "good\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* Why it did not come, and what it is nevertheless. */
static void expect_refused(const char *path, const char *error, uint64_t size, uint32_t mode)
{
	const struct frame *frame = guest_vm_expect(&vm, FRAME_FILE);
	char text[128];

	assert_memory_equal(frame->path.text, path, frame->path.len);
	(void)snprintf(text, sizeof(text), "%.*s", (int)frame->error.len, frame->error.text);
	assert_string_equal(text, error);
	assert_int_equal(frame->size, size);
	assert_int_equal(frame->mode, mode);
	assert_int_equal(frame->len, 0);
}

static void test_collect_says_why_and_what(void **state)
{
	static const char *const names[] = { "big", "folder", "*.txt", "link", "secret", "fifo", "setid" };
	const struct frame *frame;

	(void)state;
	run_script("head -c 5000 /dev/zero >big; chmod 640 big; mkdir -m 751 folder; >a.txt; ln -s big link; echo 123 >secret;"
		   "chmod 0 secret; mkfifo -m 600 fifo; echo 1 >setid; chmod 6755 setid");
	assert_exit(0);
	collect(names, ARRAY_SIZE(names), 4000);
	expect_refused("big", "its 5000 bytes are more than the 4000 that may still be collected", 5000, 0640);
	expect_refused("folder", "it is a folder; collect takes files only: pack it first, with tar for example", 0,
		       0751);
	expect_refused("*.txt", "no such file; collect knows no patterns: name every file", 0, 0);
	expect_refused("link", "it is a symbolic link, which is not followed", 0, 0777);
	expect_refused("secret", "the task itself may not read it", 4, 0);
	expect_refused("fifo", "not a regular file", 0, 0600);
	frame = guest_vm_expect(&vm, FRAME_FILE);
	assert_int_equal(frame->error.len, 0);
	assert_int_equal(frame->mode, 06755);
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

static void test_collect_has_a_limit(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	(void)state;
	run_script("echo 1234 >a; echo 12345678 >b; echo 1 >c");
	collect(names, ARRAY_SIZE(names), 10);
	expect_file("a", "1234\n");
	expect_file("b", NULL);
	expect_file("c", "1\n");
	(void)guest_vm_expect(&vm, FRAME_COLLECTED);
}

/* A put must not leave /work through a link that a program left there. */
static void test_put_meets_a_link(void **state)
{
	(void)state;
	run_script("ln -s /modules through; ln -s /tmp/target file");
	assert_exit(0);
	put("file", "new", 0, 3, true); /* a link in the last place is replaced */
	run_script("cat file; [ -L file ] && echo link; ls /tmp");
	assert_exit(0);
	assert_out("new");
	put("through/x", "new", 0, 3, true);
	(void)guest_vm_expect(&vm, FRAME_FAIL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BOOTED(test_files),
		BOOTED(test_collect_of_what_is_no_file),
		BOOTED(test_collect_says_why_and_what),
		BOOTED(test_collect_has_a_limit),
		BOOTED(test_put_meets_a_link),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), 192, 64, argc, argv);
}
