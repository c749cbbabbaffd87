#include "wire/task.h"

#include <assert.h>
#include <stdlib.h>

#include "wire/pack.h"

static const char *const kind_names[] = { "run" };
static_assert(ARRAY_SIZE(kind_names) == TASK_KIND_COUNT, "a name for every task_kind");

const char *task_kind_name(enum task_kind kind)
{
	return (unsigned)kind < TASK_KIND_COUNT ? kind_names[kind] : "unknown";
}

static const char *const oom_names[] = { "program", "process" };
static_assert(ARRAY_SIZE(oom_names) == TASK_OOM_COUNT, "a name for every task_oom");

const char *task_oom_name(enum task_oom oom)
{
	return (unsigned)oom < TASK_OOM_COUNT ? oom_names[oom] : "unknown";
}

static const char *const start_names[] = { "any", "cold" };
static_assert(ARRAY_SIZE(start_names) == TASK_START_COUNT, "a name for every task_start");

const char *task_start_name(enum task_start start)
{
	return (unsigned)start < TASK_START_COUNT ? start_names[start] : "unknown";
}

const struct task task_defaults = {
	.ttl_ms = TASK_DEFAULT_TTL_MS,
	.timeout_ms = TASK_DEFAULT_TIMEOUT_MS,
	.output_limit_bytes = TASK_DEFAULT_OUTPUT_BYTES,
	.cpus = TASK_DEFAULT_CPUS,
	.memory_mib = TASK_DEFAULT_MEMORY_MIB,
	.disk_mib = TASK_DEFAULT_DISK_MIB,
};

static void put_texts(struct pack *pack, struct pack_map *map, const char *key, const struct task_text *texts, size_t n)
{
	if (!n)
		return;
	pack_key(pack, map, key);
	pack_array(pack, n);
	for (size_t i = 0; i < n; i++)
		pack_string(pack, texts[i].text);
}

static void put_pairs(struct pack *pack, struct pack_map *map, const char *key, const struct task_pair *pairs, size_t n)
{
	struct pack_map inner;

	if (!n)
		return;
	pack_key(pack, map, key);
	inner = pack_map_begin(pack);
	for (size_t i = 0; i < n; i++)
		pack_string_field(pack, &inner, pairs[i].key, pairs[i].value);
	pack_map_end(pack, &inner);
}

static void put_files(struct pack *pack, struct pack_map *map, const struct task_file *files, size_t n)
{
	if (!n)
		return;
	pack_key(pack, map, "files");
	pack_array(pack, n);
	for (size_t i = 0; i < n; i++) {
		struct pack_map inner = pack_map_begin(pack);

		pack_string_field(pack, &inner, "path", files[i].path);
		pack_bytes_field(pack, &inner, "data", files[i].data, files[i].len);
		if (files[i].mode != TASK_DEFAULT_FILE_MODE)
			pack_uint_field(pack, &inner, "mode", files[i].mode);
		pack_map_end(pack, &inner);
	}
}

static void put_number(struct pack *pack, struct pack_map *map, const char *key, uint64_t number, uint64_t preset)
{
	if (number != preset)
		pack_uint_field(pack, map, key, number);
}

static void put_numbers(struct pack *pack, struct pack_map *map, const struct task *task)
{
	put_number(pack, map, "created_ms", task->created_ms, task_defaults.created_ms);
	put_number(pack, map, "queue_ms", task->queue_ms, task_defaults.queue_ms);
	put_number(pack, map, "ttl_ms", task->ttl_ms, task_defaults.ttl_ms);
	put_number(pack, map, "timeout_ms", task->timeout_ms, task_defaults.timeout_ms);
	put_number(pack, map, "output_limit_bytes", task->output_limit_bytes, task_defaults.output_limit_bytes);
	put_number(pack, map, "cpus", task->cpus, task_defaults.cpus);
	put_number(pack, map, "memory_mib", task->memory_mib, task_defaults.memory_mib);
	put_number(pack, map, "disk_mib", task->disk_mib, task_defaults.disk_mib);
	if (task->oom != task_defaults.oom)
		pack_string_field(pack, map, "oom", task_oom_name(task->oom));
	if (task->start != task_defaults.start)
		pack_string_field(pack, map, "start", task_start_name(task->start));
	if (task->is_streaming)
		pack_bool_field(pack, map, "stream", true);
}

int task_encode(const struct task *task, struct buf *out)
{
	struct pack pack;
	struct pack_map map;

	pack_init(&pack, out);
	map = pack_map_begin(&pack);
	pack_uint_field(&pack, &map, "v", TASK_SCHEMA_VERSION);
	pack_string_field(&pack, &map, "kind", task_kind_name(task->kind));
	pack_string_field(&pack, &map, "id", task->id);
	pack_string_field(&pack, &map, "image", task->image);
	put_texts(&pack, &map, "argv", task->argv, task->n_argv);
	put_pairs(&pack, &map, "env", task->env, task->n_env);
	if (task->stdin_len)
		pack_bytes_field(&pack, &map, "stdin", task->stdin_data, task->stdin_len);
	put_files(&pack, &map, task->files, task->n_files);
	put_texts(&pack, &map, "collect", task->collect, task->n_collect);
	put_pairs(&pack, &map, "labels", task->labels, task->n_labels);
	put_numbers(&pack, &map, task);
	pack_map_end(&pack, &map);
	return pack_finish(&pack);
}

static void free_texts(struct task_text *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i].text);
	free(texts);
}

static void free_pairs(struct task_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(pairs[i].key);
		free(pairs[i].value);
	}
	free(pairs);
}

void task_free(struct task *task)
{
	if (!task)
		return;
	for (size_t i = 0; i < task->n_files; i++) {
		free(task->files[i].path);
		free(task->files[i].data);
	}
	free(task->files);
	free_texts(task->argv, task->n_argv);
	free_pairs(task->env, task->n_env);
	free(task->stdin_data);
	free_texts(task->collect, task->n_collect);
	free_pairs(task->labels, task->n_labels);
	free(task);
}
