/* The reading half of wire/task.h, and the strict one: a task that is not understood whole is refused, because running
 * half of what somebody asked for is worse than running nothing. Every refusal names its field. */
#include "wire/task.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/unpack.h"

static int copy_text(const struct unpack_text *text, char **ret)
{
	char *copy = strndup(text->text, text->len);

	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

/* `*ret` stays NULL when there are no bytes. */
static int copy_bytes(const uint8_t *data, size_t len, uint8_t **ret)
{
	uint8_t *copy;

	if (!len)
		return 0;
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	*ret = copy;
	return 0;
}

static bool is_word(const struct unpack_text *text, const char *word)
{
	return strlen(word) == text->len && memcmp(word, text->text, text->len) == 0;
}

/* One of `n` words, or what else it would have to be. */
static int find_word(const struct unpack_value *value, const struct unpack_rule *rule, const char *(*word)(unsigned place), unsigned n,
		     const char *flaw, unsigned *ret_place)
{
	struct unpack_text text;
	int r = unpack_text(value, 1, (size_t)rule->max, &text);

	if (r < 0)
		return r;
	for (*ret_place = 0; *ret_place < n; (*ret_place)++)
		if (is_word(&text, word(*ret_place)))
			return 0;
	return unpack_fail(value, "%s", flaw);
}

static const char *kind_word(unsigned place)
{
	return task_kind_name((enum task_kind)place);
}

static int read_kind(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	unsigned place;
	int r = find_word(value, rule, kind_word, TASK_KIND_COUNT, "is not a known kind of task; send \"run\"", &place);

	if (r == 0)
		((struct task *)into)->kind = (enum task_kind)place;
	return r;
}

static const char *oom_word(unsigned place)
{
	return task_oom_name((enum task_oom)place);
}

static int read_oom(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	unsigned place;
	int r = find_word(value, rule, oom_word, TASK_OOM_COUNT, "must be \"program\" or \"process\": what ends when memory runs out", &place);

	if (r == 0)
		((struct task *)into)->oom = (enum task_oom)place;
	return r;
}

static const char *start_word(unsigned place)
{
	return task_start_name((enum task_start)place);
}

static int read_start(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	unsigned place;
	int r = find_word(value, rule, start_word, TASK_START_COUNT, "must be \"any\" or \"cold\": how its microVM may be started", &place);

	if (r == 0)
		((struct task *)into)->start = (enum task_start)place;
	return r;
}

static int read_id(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	int r = unpack_rule_chars(value, rule, into);

	if (r == 0 && !ident_is_id(task->id, strlen(task->id)))
		return unpack_fail(value,
				   "must be letters, digits, '.', '_' and '-', and start with a letter or digit");
	return r;
}

static int read_image(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	int r = unpack_rule_chars(value, rule, into);

	if (r == 0 && !ident_is_image(task->image, strlen(task->image)))
		return unpack_fail(value, "must be lower-case letters, digits, '.', '_' and '-', and start with a "
					  "letter or digit");
	return r;
}

static int read_argv(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	size_t n;
	int r = unpack_array(value, 1, TASK_MAX_ARGS, &n);

	(void)rule;
	if (r < 0)
		return r;
	task->argv = calloc(n, sizeof(*task->argv));
	if (!task->argv)
		return -ENOMEM;
	for (; task->n_argv < n; task->n_argv++) {
		struct unpack_value item = unpack_item(value, task->n_argv);
		struct unpack_text text;

		r = unpack_text(&item, task->n_argv == 0 ? 1 : 0, TASK_MAX_ARG_BYTES, &text);
		if (r == 0)
			r = copy_text(&text, &task->argv[task->n_argv].text);
		if (r < 0)
			return r;
	}
	return 0;
}

struct pair_limits {
	size_t max_pairs, min_key, max_key, max_value;
};

static int read_pairs(const struct unpack_value *value, const struct pair_limits *limits, struct task_pair **pairs,
		      size_t *n_pairs)
{
	size_t n = 0;
	int r = unpack_pairs(value, limits->max_pairs, &n);

	if (r < 0 || n == 0)
		return r;
	*pairs = calloc(n, sizeof(**pairs));
	if (!*pairs)
		return -ENOMEM;
	for (; *n_pairs < n; (*n_pairs)++) {
		struct unpack_value pair = unpack_pair(value, *n_pairs);
		struct unpack_text key = { .text = pair.key, .len = pair.key_len }, text;

		if (key.len < limits->min_key || key.len > limits->max_key)
			return unpack_fail(&pair, "the key must be %zu to %zu bytes long, not %zu", limits->min_key,
					   limits->max_key, key.len);
		r = unpack_text(&pair, 0, limits->max_value, &text);
		if (r == 0)
			r = copy_text(&key, &(*pairs)[*n_pairs].key);
		if (r == 0)
			r = copy_text(&text, &(*pairs)[*n_pairs].value);
		if (r < 0) {
			free((*pairs)[*n_pairs].key);
			return r;
		}
	}
	return r;
}

static int read_env(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct pair_limits limits = { TASK_MAX_ENV, 1, TASK_MAX_ARG_BYTES, TASK_MAX_ARG_BYTES };
	struct task *task = into;
	int r = read_pairs(value, &limits, &task->env, &task->n_env);

	(void)rule;
	for (size_t i = 0; r == 0 && i < task->n_env; i++) {
		struct unpack_value pair = unpack_pair(value, i);

		if (strchr(task->env[i].key, '='))
			return unpack_fail(&pair, "the name of a variable must not hold '='");
	}
	return r;
}

static int read_labels(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct pair_limits limits = { TASK_MAX_LABELS, 1, TASK_MAX_LABEL_BYTES, TASK_MAX_LABEL_BYTES };
	struct task *task = into;

	(void)rule;
	return read_pairs(value, &limits, &task->labels, &task->n_labels);
}

static int read_stdin(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	const uint8_t *data;
	int r = unpack_bytes(value, (size_t)rule->max, &data, &task->stdin_len);

	return r < 0 ? r : copy_bytes(data, task->stdin_len, &task->stdin_data);
}

static bool is_path_sound(const char *path)
{
	for (const char *part = path;; part++) {
		size_t len = strcspn(part, "/");

		if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		part += len;
		if (!*part)
			return true;
	}
}

static int read_path(const struct unpack_value *value, char **ret)
{
	cleanup_free char *path = NULL;
	struct unpack_text text;
	int r = unpack_text(value, 1, TASK_MAX_PATH_BYTES, &text);

	if (r == 0)
		r = copy_text(&text, &path);
	if (r < 0)
		return r;
	if (!is_path_sound(path))
		return unpack_fail(value, "must be relative to /work, without an empty, \".\" or \"..\" component");
	*ret = TAKE_PTR(path);
	return 0;
}

static int read_file_path(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task_file *file = into;

	(void)rule;
	return read_path(value, &file->path);
}

static int read_file_data(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task_file *file = into;
	const uint8_t *data;
	int r = unpack_bytes(value, (size_t)rule->max, &data, &file->len);

	return r < 0 ? r : copy_bytes(data, file->len, &file->data);
}

static const struct unpack_rule file_rules[] = {
	{ .key = "path", .read = read_file_path, .is_required = true },
	{ .key = "data", .read = read_file_data, .max = TASK_MAX_BYTES, .is_required = true },
	{ .key = "mode",
	  .read = unpack_rule_u32,
	  .offset = offsetof(struct task_file, mode),
	  .max = TASK_MAX_FILE_MODE },
};

/* Neither the same path, nor one that is a folder on the way to the other. */
static bool do_paths_clash(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (!*a && (!*b || *b == '/')) || (!*b && *a == '/');
}

static int check_file_clash(const struct unpack_value *item, const struct task *task, const char *path)
{
	struct unpack_value field = { .parent = item, .key = "path", .key_len = strlen("path"), .flaw = item->flaw };

	for (size_t i = 0; i < task->n_files; i++)
		if (do_paths_clash(task->files[i].path, path))
			return unpack_fail(&field, "is the same as, above or below files[%zu].path; give each its own",
					   i);
	return 0;
}

static int read_files(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	size_t n = 0;
	int r = unpack_array(value, 0, TASK_MAX_FILES, &n);

	(void)rule;
	if (r < 0 || n == 0)
		return r;
	task->files = calloc(n, sizeof(*task->files));
	if (!task->files)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value item = unpack_item(value, i);
		struct task_file *file = &task->files[i];

		file->mode = TASK_DEFAULT_FILE_MODE;
		r = unpack_map(&item, file_rules, ARRAY_SIZE(file_rules), UNPACK_UNKNOWN_REFUSED, file);
		if (r == 0)
			r = check_file_clash(&item, task, file->path);
		task->n_files++; /* task_free() has to see it, whole or not */
	}
	return r;
}

static int read_collect(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct task *task = into;
	size_t n = 0;
	int r = unpack_array(value, 0, TASK_MAX_COLLECT, &n);

	(void)rule;
	if (r < 0 || n == 0)
		return r;
	task->collect = calloc(n, sizeof(*task->collect));
	if (!task->collect)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value item = unpack_item(value, i);

		r = read_path(&item, &task->collect[i].text);
		for (size_t j = 0; r == 0 && j < i; j++)
			if (strcmp(task->collect[i].text, task->collect[j].text) == 0)
				r = unpack_fail(&item, "is the same as collect[%zu]; keep one", j);
		task->n_collect++; /* task_free() has to see it, whole or not */
	}
	return r;
}

#define NUMBER(name, reader, least, most)                                                                          \
	{                                                                                                          \
		.key = #name, .read = reader, .offset = offsetof(struct task, name), .min = (least), .max = (most) \
	}

static const struct unpack_rule run_rules[] = {
	/* `v` first, for check_head() */
	{ .key = "v", .read = unpack_rule_version, .max = TASK_SCHEMA_VERSION, .is_required = true },
	{ .key = "kind", .read = read_kind, .max = 32, .is_required = true },
	{ .key = "id",
	  .read = read_id,
	  .offset = offsetof(struct task, id),
	  .min = 1,
	  .max = IDENT_ID_MAX,
	  .is_required = true },
	{ .key = "image",
	  .read = read_image,
	  .offset = offsetof(struct task, image),
	  .min = 1,
	  .max = IDENT_IMAGE_MAX,
	  .is_required = true },
	{ .key = "argv", .read = read_argv, .is_required = true },
	{ .key = "env", .read = read_env },
	{ .key = "stdin", .read = read_stdin, .max = TASK_MAX_BYTES },
	{ .key = "files", .read = read_files },
	{ .key = "collect", .read = read_collect },
	{ .key = "labels", .read = read_labels },
	NUMBER(created_ms, unpack_rule_u64, 0, TASK_MAX_CREATED_MS),
	NUMBER(queue_ms, unpack_rule_u64, 0, TASK_MAX_QUEUE_MS),
	NUMBER(ttl_ms, unpack_rule_u64, 1, TASK_MAX_TTL_MS),
	NUMBER(timeout_ms, unpack_rule_u64, 1, TASK_MAX_TTL_MS),
	NUMBER(output_limit_bytes, unpack_rule_u64, 0, TASK_MAX_OUTPUT_BYTES),
	NUMBER(cpus, unpack_rule_u32, 1, TASK_MAX_CPUS),
	NUMBER(memory_mib, unpack_rule_u32, TASK_MIN_MEMORY_MIB, TASK_MAX_MEMORY_MIB),
	NUMBER(disk_mib, unpack_rule_u32, TASK_MIN_DISK_MIB, TASK_MAX_DISK_MIB),
	{ .key = "oom", .read = read_oom, .max = 16 },
	{ .key = "start", .read = read_start, .max = 16 },
	{ .key = "stream", .read = unpack_rule_bool, .offset = offsetof(struct task, is_streaming) },
};

/* As execve(2) counts them: every string with its NUL, KEY=VALUE as one string. */
static int check_arg_bytes(const struct unpack_value *root, const struct task *task)
{
	struct unpack_value argv;
	size_t total = 0;

	for (size_t i = 0; i < task->n_argv; i++)
		total += strlen(task->argv[i].text) + 1;
	for (size_t i = 0; i < task->n_env; i++)
		total += strlen(task->env[i].key) + strlen(task->env[i].value) + 2;
	if (total <= TASK_MAX_ARG_BYTES || !unpack_find(root, "argv", &argv))
		return 0;
	return unpack_fail(&argv, "argv and env together must be at most %d bytes, not %zu; send the rest as a file",
			   TASK_MAX_ARG_BYTES, total);
}

/* Each kind has its own fields. `v` and `kind` are the first two of every one. */
static const struct {
	const struct unpack_rule *rules;
	size_t n_rules;
	int (*check)(const struct unpack_value *root, const struct task *task); /* what takes more than one field to say */
} kinds[] = {
	[TASK_KIND_RUN] = { run_rules, ARRAY_SIZE(run_rules), check_arg_bytes },
};
static_assert(ARRAY_SIZE(kinds) == TASK_KIND_COUNT, "rules for every kind of task");

/* What decides how the rest is read comes first: a message of another version is told so, not that a field is unknown. */
static int check_head(const struct unpack_value *root, char id[IDENT_ID_MAX + 1], struct task *task)
{
	struct unpack_value value;

	if (unpack_find(root, "id", &value) && value.object->type == MSGPACK_OBJECT_STR &&
	    ident_is_id(value.object->via.str.ptr, value.object->via.str.size)) {
		memcpy(id, value.object->via.str.ptr, value.object->via.str.size);
		id[value.object->via.str.size] = '\0';
	}
	if (unpack_find(root, "v", &value) && unpack_rule_version(&value, &run_rules[0], NULL) < 0)
		return -EBADMSG;
	return unpack_find(root, "kind", &value) ? read_kind(&value, &run_rules[1], task) : 0;
}

static int decode(const struct unpack_value *root, struct task **ret, struct task_flaw *flaw)
{
	cleanup_(task_freep) struct task *task = malloc(sizeof(*task));
	int r;

	if (!task)
		return -ENOMEM;
	*task = task_defaults;
	r = check_head(root, flaw->id, task);
	if (r == 0)
		r = unpack_map(root, kinds[task->kind].rules, kinds[task->kind].n_rules, UNPACK_UNKNOWN_REFUSED, task);
	if (r == 0)
		r = kinds[task->kind].check(root, task);
	if (r == 0)
		*ret = TAKE_PTR(task);
	return r;
}

enum task_verdict task_decode(const uint8_t *data, size_t len, struct task **ret, struct task_flaw *flaw)
{
	static const struct prescan_limits limits = { TASK_MAX_BYTES, TASK_MAX_DEPTH, TASK_MAX_NODES };
	struct unpack_flaw found = { .field = "" };
	struct unpack unpack;
	int r;

	*flaw = (struct task_flaw){ .field = "" };
	r = unpack_open(&unpack, data, len, &limits, &found);
	if (r == 0) {
		r = decode(&unpack.root, ret, flaw);
		unpack_close(&unpack);
	}
	if (r == 0 || r == -ENOMEM)
		return r == 0 ? TASK_VERDICT_OK : TASK_VERDICT_NO_MEMORY;
	static_assert(sizeof(flaw->field) == sizeof(found.field) && sizeof(flaw->message) == sizeof(found.message),
		      "a task_flaw holds any unpack_flaw");
	memcpy(flaw->field, found.field, sizeof(flaw->field));
	memcpy(flaw->message, found.message, sizeof(flaw->message));
	return TASK_VERDICT_FLAWED;
}
