/* task_decode(): what it accepts means the same after a round trip; what it refuses names a field. */
#include "wire/task.h"

#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "wire/prescan.h"

static bool is_map(const uint8_t *data, size_t len)
{
	static const struct prescan_limits limits = { TASK_MAX_BYTES, TASK_MAX_DEPTH, TASK_MAX_NODES };
	struct prescan_field field;

	if (prescan(data, len, &limits, &field) != PRESCAN_VERDICT_OK)
		return false;
	return (data[0] & 0xf0) == 0x80 || data[0] == 0xde || data[0] == 0xdf;
}

static void check_flaw(const struct task_flaw *flaw, bool must_name_field)
{
	FUZZ_CHECK(strnlen(flaw->message, sizeof(flaw->message)) < sizeof(flaw->message) && flaw->message[0]);
	FUZZ_CHECK(strnlen(flaw->field, sizeof(flaw->field)) < sizeof(flaw->field));
	FUZZ_CHECK(flaw->field[0] || !must_name_field);
	for (const char *p = flaw->field; *p; p++)
		FUZZ_CHECK(*p > 0x20 && *p < 0x7f);
	FUZZ_CHECK(!flaw->id[0] || ident_is_id(flaw->id, strlen(flaw->id)));
}

static void check_limits(const struct task *task)
{
	FUZZ_CHECK(ident_is_id(task->id, strlen(task->id)) && ident_is_image(task->image, strlen(task->image)));
	FUZZ_CHECK(task->n_argv >= 1 && task->n_argv <= TASK_MAX_ARGS && task->argv[0].text[0]);
	FUZZ_CHECK(task->n_env <= TASK_MAX_ENV && task->n_labels <= TASK_MAX_LABELS);
	FUZZ_CHECK(task->n_files <= TASK_MAX_FILES && task->n_collect <= TASK_MAX_COLLECT);
	for (size_t i = 0; i < task->n_files; i++) {
		const char *path = task->files[i].path;

		FUZZ_CHECK(path[0] && path[0] != '/' && strlen(path) <= TASK_MAX_PATH_BYTES && !strstr(path, "//"));
		FUZZ_CHECK(strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && !strstr(path, "/../"));
		FUZZ_CHECK(task->files[i].mode <= TASK_MAX_FILE_MODE);
	}
	FUZZ_CHECK(task->queue_ms <= TASK_MAX_QUEUE_MS);
	FUZZ_CHECK(task->ttl_ms >= 1 && task->ttl_ms <= TASK_MAX_TTL_MS && task->created_ms <= TASK_MAX_CREATED_MS);
	FUZZ_CHECK(task->cpus >= 1 && task->cpus <= TASK_MAX_CPUS);
	FUZZ_CHECK(task->memory_mib >= TASK_MIN_MEMORY_MIB && task->memory_mib <= TASK_MAX_MEMORY_MIB);
	FUZZ_CHECK(task->disk_mib >= TASK_MIN_DISK_MIB && task->disk_mib <= TASK_MAX_DISK_MIB);
}

static void check_round_trip(const struct task *task)
{
	cleanup_(task_freep) struct task *again = NULL;
	struct buf first = { 0 }, second = { 0 };
	struct task_flaw flaw;

	FUZZ_CHECK(task_encode(task, &first) == 0);
	if (first.len <= TASK_MAX_BYTES) { /* a map head may be two bytes longer than the sender's */
		FUZZ_CHECK(task_decode(first.data, first.len, &again, &flaw) == TASK_VERDICT_OK);
		FUZZ_CHECK(task_encode(again, &second) == 0);
		FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	}
	buf_free(&first);
	buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct task_flaw flaw;

	if (task_decode(data, len, &task, &flaw) == TASK_VERDICT_OK) {
		check_limits(task);
		check_round_trip(task);
	} else {
		FUZZ_CHECK(!task);
		check_flaw(&flaw, is_map(data, len));
	}
	return 0;
}
