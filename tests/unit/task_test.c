/* The hard cases are in schemas/vectors, run by agreement.py; here is what a C caller sees. */
#include "wire/task.h"

#include <string.h>

#include "tests/unit/unit.h"

#define HEAD                                        \
	"\x85\xa1v\x01\xa4kind\xa3run\xa5image\xa4" \
	"base\xa4"                                  \
	"argv\x91\xa4true"
#define MINIMAL HEAD "\xa2id\xa3t-1"

static enum task_verdict decode(const char *bytes, size_t len, struct task **ret, struct task_flaw *flaw)
{
	return task_decode((const uint8_t *)bytes, len, ret, flaw);
}

static void test_defaults(void **state)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct task_flaw flaw;

	(void)state;
	assert_int_equal(decode(MINIMAL, sizeof(MINIMAL) - 1, &task, &flaw), TASK_VERDICT_OK);
	assert_int_equal(task->kind, TASK_KIND_RUN);
	assert_string_equal(task->id, "t-1");
	assert_string_equal(task->image, "base");
	assert_int_equal(task->n_argv, 1);
	assert_string_equal(task->argv[0].text, "true");
	assert_int_equal(task->cpus, TASK_DEFAULT_CPUS);
	assert_int_equal(task->memory_mib, TASK_DEFAULT_MEMORY_MIB);
	assert_int_equal(task->disk_mib, TASK_DEFAULT_DISK_MIB);
	assert_true(task->queue_ms == 0); /* it waits as long as it takes */
	assert_true(task->ttl_ms == TASK_DEFAULT_TTL_MS);
	assert_true(task->timeout_ms == TASK_DEFAULT_TIMEOUT_MS);
	assert_true(task->output_limit_bytes == TASK_DEFAULT_OUTPUT_BYTES);
	assert_true(task->created_ms == 0);
	assert_false(task->is_streaming);
	assert_int_equal(task->oom, TASK_OOM_PROGRAM);
	assert_int_equal(task->start, TASK_START_ANY);
	assert_int_equal(task->n_env + task->n_files + task->n_collect + task->n_labels + task->stdin_len, 0);
}

/* A rejected result goes to the sender under the id, when there is one that can be used. */
static void test_flaw_tells_the_id(void **state)
{
	static const char no_argv[] = "\x82\xa1v\x01\xa2id\xa3t-1", bad_id[] = "\x82\xa1v\x01\xa2id\xa3../";
	static const char number[] = "\x81\xa2id\x07", version[] = "\x82\xa1v\x02\xa2id\xa3t-1";
	struct task *task = NULL;
	struct task_flaw flaw;

	(void)state;
	assert_int_equal(decode(no_argv, sizeof(no_argv) - 1, &task, &flaw), TASK_VERDICT_FLAWED);
	assert_string_equal(flaw.id, "t-1");
	assert_string_equal(flaw.field, "kind");
	assert_string_equal(flaw.message, "is missing");
	assert_int_equal(decode(version, sizeof(version) - 1, &task, &flaw), TASK_VERDICT_FLAWED);
	assert_string_equal(flaw.id, "t-1");
	assert_string_equal(flaw.field, "v");
	assert_int_equal(decode(bad_id, sizeof(bad_id) - 1, &task, &flaw), TASK_VERDICT_FLAWED);
	assert_string_equal(flaw.id, "");
	assert_int_equal(decode(number, sizeof(number) - 1, &task, &flaw), TASK_VERDICT_FLAWED);
	assert_string_equal(flaw.id, "");
	assert_int_equal(decode("", 0, &task, &flaw), TASK_VERDICT_FLAWED);
	assert_string_equal(flaw.id, "");
	assert_null(task);
}

static void test_encode_leaves_defaults_out(void **state)
{
	cleanup_(task_freep) struct task *task = NULL, *again = NULL;
	struct buf buf = { 0 };
	struct task_flaw flaw;

	(void)state;
	assert_int_equal(decode(MINIMAL, sizeof(MINIMAL) - 1, &task, &flaw), TASK_VERDICT_OK);
	assert_int_equal(task_encode(task, &buf), 0);
	assert_int_equal(buf.len, sizeof(MINIMAL) - 1 + 2); /* a map head of three bytes instead of one */
	assert_int_equal(task_decode(buf.data, buf.len, &again, &flaw), TASK_VERDICT_OK);
	buf_free(&buf);
}

static void test_free_accepts_null(void **state)
{
	(void)state;
	task_free(NULL);
	assert_string_equal(task_kind_name(TASK_KIND_RUN), "run");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_flaw_tells_the_id),
		cmocka_unit_test(test_encode_leaves_defaults_out),
		cmocka_unit_test(test_free_accepts_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
