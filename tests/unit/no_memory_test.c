/* Each allocation of the decoders and encoders fails once: the answer says so, nothing leaks (LeakSanitizer looks at the end).
 * Linked with --wrap for the allocators. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "tests/unit/unit.h"
#include "wire/frame.h"
#include "wire/result.h"
#include "wire/task.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strndup(const char *text, size_t len);

static int countdown = -1; /* allocations until one fails; negative: none does */

static bool is_due(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return is_due() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_due() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return is_due() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return is_due() ? NULL : __real_strndup(text, len);
}

static size_t load(const char *name, uint8_t *out, size_t size)
{
	cleanup_file FILE *file = NULL;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/good/%s.msgpack", VECTORS, name);
	file = fopen(path, "re");
	assert_non_null(file);
	return fread(out, 1, size, file);
}

static int run_task(const uint8_t *data, size_t len)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct buf buf = { 0 };
	struct task_flaw flaw;
	enum task_verdict verdict = task_decode(data, len, &task, &flaw);
	int r;

	if (verdict == TASK_VERDICT_NO_MEMORY) {
		assert_null(task);
		return -ENOMEM;
	}
	assert_int_equal(verdict, TASK_VERDICT_OK);
	r = task_encode(task, &buf);
	assert_true(r == 0 || buf.len == 0);
	buf_free(&buf);
	return r;
}

static int run_result(const uint8_t *data, size_t len)
{
	struct result result;
	struct buf buf = { 0 };
	char why[160] = "";
	int r = result_decode(data, len, &result, why);

	if (r == 0)
		r = result_encode(&result, &buf);
	assert_string_equal(why, "");
	result_clear(&result);
	buf_free(&buf);
	return r;
}

static int run_frame(const uint8_t *data, size_t len)
{
	struct buf buf = { 0 };
	struct frame frame;
	char why[160] = "";
	int r = frame_decode(data, len, &frame, why);

	if (r < 0)
		return r;
	r = frame_encode(&frame, &buf);
	frame_clear(&frame);
	buf_free(&buf);
	return r;
}

/* Let the first, second, ... allocation fail until none is left to fail; answers how many there were. */
static int exhaust(const char *name, int (*run)(const uint8_t *data, size_t len))
{
	uint8_t data[65536];
	size_t len = load(name, data, sizeof(data));

	for (int n = 0;; n++) {
		int r;

		countdown = n;
		r = run(data, len);
		if (countdown >= 0) { /* fewer than n allocations */
			countdown = -1;
			assert_int_equal(r, 0);
			return n;
		}
		assert_int_equal(r, -ENOMEM);
	}
}

static void test_task(void **state)
{
	(void)state;
	assert_true(exhaust("task-typical", run_task) > 15);
	assert_true(exhaust("task-most", run_task) > 500);
}

static void test_result(void **state)
{
	(void)state;
	assert_true(exhaust("result-finished", run_result) > 5);
}

static void test_frame(void **state)
{
	(void)state;
	assert_true(exhaust("frame-run", run_frame) >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_task),
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
