#include "tools/order.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/std_fds.h"
#include "tools/quantity.h"
#include "tools/task_json.h"

/* Room for one more element at the end of an array of `n`, zeroed. */
#define GROW(array, n, max, option, err)                                                                   \
	((n) >= (max) ? err_set(err, ERR_INPUT, 0, "--%s is given more than %d times", option, (int)(max)) \
		      : grow((void **)&(array), n, sizeof(*(array)), err))

static int grow(void **array, size_t n, size_t size, struct err *err)
{
	void *grown = realloc(*array, (n + 1) * size);

	if (!grown)
		return err_set(err, ERR_HOST, ENOMEM, "a task");
	*array = grown;
	memset((char *)grown + n * size, 0, size);
	return 0;
}

static int copy(const char *text, size_t len, char **ret, struct err *err)
{
	*ret = strndup(text, len);
	return *ret ? 0 : err_set(err, ERR_HOST, ENOMEM, "a task");
}

int order_init(struct order *order, struct err *err)
{
	*order = (struct order){ .task = malloc(sizeof(*order->task)) };
	if (!order->task)
		return err_set(err, ERR_HOST, ENOMEM, "a task");
	*order->task = task_defaults;
	(void)snprintf(order->task->image, sizeof(order->task->image), "base");
	ident_uuid(order->task->id);
	return 0;
}

static int take_text(char *out, size_t size, const char *option, const char *value, struct err *err)
{
	if (strlen(value) >= size)
		return err_set(err, ERR_INPUT, 0, "--%s has more than %zu characters", option, size - 1);
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int take_pair(struct task_pair **pairs, size_t *n, size_t max, const char *option, const char *value,
		     struct err *err)
{
	const char *equals = strchr(value, '=');
	int r;

	if (!equals)
		return err_set(err, ERR_INPUT, 0, "--%s '%.60s' must be NAME=VALUE", option, value);
	r = GROW(*pairs, *n, max, option, err);
	if (r < 0)
		return r;
	(*n)++;
	r = copy(value, (size_t)(equals - value), &(*pairs)[*n - 1].key, err);
	return r < 0 ? r : copy(equals + 1, strlen(equals + 1), &(*pairs)[*n - 1].value, err);
}

static int take_oom(struct task *task, const char *value, struct err *err)
{
	for (int i = 0; i < TASK_OOM_COUNT; i++)
		if (strcmp(value, task_oom_name((enum task_oom)i)) == 0) {
			task->oom = (enum task_oom)i;
			return 0;
		}
	return err_set(err, ERR_INPUT, 0, "--oom: '%.40s' is neither 'program' nor 'process'", value);
}

static int take_start(struct task *task, const char *value, struct err *err)
{
	for (int i = 0; i < TASK_START_COUNT; i++)
		if (strcmp(value, task_start_name((enum task_start)i)) == 0) {
			task->start = (enum task_start)i;
			return 0;
		}
	return err_set(err, ERR_INPUT, 0, "--start: '%.40s' is neither 'any' nor 'cold'", value);
}

static int take_collect(struct order *order, const char *value, struct err *err)
{
	struct task *task = order->task;
	int r = GROW(task->collect, task->n_collect, TASK_MAX_COLLECT, "collect", err);

	if (r < 0)
		return r;
	order->collects[task->n_collect] = value;
	if (strncmp(value, "/work/", 6) == 0)
		value += 6;
	task->n_collect++;
	return copy(value, strlen(value), &task->collect[task->n_collect - 1].text, err);
}

/* False when nothing is there until then. */
static bool is_readable(int fd, uint64_t until_mono_ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	uint64_t now = clock_mono_ms();
	uint64_t left_ms = until_mono_ms > now ? until_mono_ms - now : 0;

	return poll(&pollfd, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms) != 0; /* an error is for read() to tell */
}

/* Everything that can be read, as long as it can be part of a task. */
static int read_all(int fd, const char *name, uint64_t until_mono_ms, uint8_t **ret, size_t *ret_len, struct err *err)
{
	cleanup_(buf_free) struct buf buf = { .max = TASK_MAX_BYTES };
	ssize_t n;

	do {
		if (buf_reserve(&buf, 1) < 0)
			return err_set(err, ERR_INPUT, 0, "'%s' is larger than a whole task may be (%d bytes)", name,
				       TASK_MAX_BYTES);
		if (until_mono_ms && !is_readable(fd, until_mono_ms))
			return err_set(err, ERR_BUSY, 0, "%s did not end in time; gave up (--within)", name);
		n = read(fd, buf.data + buf.len, buf.cap - buf.len < 65536 ? buf.cap - buf.len : 65536);
		if (n < 0 && errno != EINTR)
			return err_set(err, ERR_INPUT, errno, "read '%s'", name);
		buf.len += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	*ret_len = buf.len;
	*ret = TAKE_PTR(buf.data);
	return 0;
}

static int load_file(struct task_file *file, const char *source, const char *path, struct err *err)
{
	cleanup_fd int fd = open(source, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r = copy(path, strlen(path), &file->path, err);

	if (r < 0)
		return r;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, ERR_INPUT, errno, "--file: open '%s'", source);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INPUT, 0, "--file: '%s' is a folder; give its files one by one, or pack it",
			       source);
	file->mode = st.st_mode & 0777;
	return read_all(fd, source, 0, &file->data, &file->len, err);
}

/* F or F:PATH; a colon that is part of an existing file's name is not a separator. */
static int take_file(struct order *order, const char *value, struct err *err)
{
	struct task *task = order->task;
	const char *colon = strrchr(value, ':'), *slash = strrchr(value, '/');
	cleanup_free char *source = NULL;
	int r = GROW(task->files, task->n_files, TASK_MAX_FILES, "file", err);

	if (r < 0)
		return r;
	order->files[task->n_files] = value;
	task->n_files++;
	if (!colon || access(value, F_OK) == 0)
		return load_file(&task->files[task->n_files - 1], value, slash ? slash + 1 : value, err);
	r = copy(value, (size_t)(colon - value), &source, err);
	if (r < 0)
		return r;
	colon += strncmp(colon + 1, "/work/", 6) == 0 ? 6 : 0;
	return load_file(&task->files[task->n_files - 1], source, colon + 1, err);
}

static int take_cpus(struct task *task, const char *value, struct err *err)
{
	uint64_t cpus;
	int r = quantity_number("cpus", value, 1, TASK_MAX_CPUS, &cpus, err);

	if (r == 0)
		task->cpus = (uint32_t)cpus;
	return r;
}

int order_take(struct order *order, int option, const char *value, struct err *err)
{
	struct task *task = order->task;

	switch ((enum order_option)option) {
	case ORDER_OPTION_IMAGE:
		return take_text(task->image, sizeof(task->image), "image", value, err);
	case ORDER_OPTION_FILE:
		return take_file(order, value, err);
	case ORDER_OPTION_OOM:
		return take_oom(task, value, err);
	case ORDER_OPTION_START:
		return take_start(task, value, err);
	case ORDER_OPTION_COLLECT:
		return take_collect(order, value, err);
	case ORDER_OPTION_QUEUE:
		return quantity_ms("queue", value, &task->queue_ms, err);
	case ORDER_OPTION_TTL:
		order->has_ttl = true;
		return quantity_ms("ttl", value, &task->ttl_ms, err);
	case ORDER_OPTION_TIMEOUT:
		return quantity_ms("timeout", value, &task->timeout_ms, err);
	case ORDER_OPTION_MEMORY:
		return quantity_mib("memory", value, &task->memory_mib, err);
	case ORDER_OPTION_DISK:
		return quantity_mib("disk", value, &task->disk_mib, err);
	case ORDER_OPTION_CPUS:
		return take_cpus(task, value, err);
	case ORDER_OPTION_ENV:
		return take_pair(&task->env, &task->n_env, TASK_MAX_ENV, "env", value, err);
	case ORDER_OPTION_STDIN:
		if (std_fds_was_closed(STDIN_FILENO))
			return err_set(err, ERR_INPUT, 0, "--stdin: standard input is closed; give it a file with < FILE");
		order->takes_stdin = true;
		return 0;
	case ORDER_OPTION_LABEL:
		return take_pair(&task->labels, &task->n_labels, TASK_MAX_LABELS, "label", value, err);
	case ORDER_OPTION_ID:
		return take_text(task->id, sizeof(task->id), "id", value, err);
	case ORDER_OPTION_OUTPUT_LIMIT:
		return quantity_bytes("output-limit", value, &task->output_limit_bytes, err);
	}
	return err_set(err, ERR_BUG, 0, "option %d has no meaning", option);
}

static int take_argv(struct task *task, int argc, char **argv, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		int r = GROW(task->argv, task->n_argv, TASK_MAX_ARGS, "argument", err);

		if (r < 0)
			return r;
		task->n_argv++;
		r = copy(argv[i], strlen(argv[i]), &task->argv[i].text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

struct wording_typed order_typed(const struct order *order)
{
	return (struct wording_typed){ .files = order->files,
				       .n_files = order->task->n_files,
				       .collects = order->collects,
				       .n_collects = order->task->n_collect };
}

/* Checked as a worker would. */
static int check(const struct order *order, const struct buf *bytes, struct err *err)
{
	struct wording_typed typed = order_typed(order);
	struct task_flaw flaw;
	char words[WORDING_BYTES];
	int r = task_bytes_check(bytes, &flaw, err);

	if (r >= 0 || err->kind != ERR_INPUT)
		return r;
	wording_of_options(&typed, &flaw, words);
	return err_set(err, ERR_INPUT, 0, "%s", words);
}

/* A workspace has to live as long as the program may run. */
static void fit_ttl(struct task *task)
{
	if (task->timeout_ms > task->ttl_ms)
		task->ttl_ms = task->timeout_ms < TASK_MAX_TTL_MS - task->ttl_ms ? task->timeout_ms + task->ttl_ms : TASK_MAX_TTL_MS;
}

int order_finish(struct order *order, int argc, char **argv, struct buf *out, struct err *err)
{
	struct task *task = order->task;
	int r = take_argv(task, argc, argv, err);

	if (r == 0 && order->takes_stdin)
		r = read_all(STDIN_FILENO, "standard input", order->stdin_until_mono_ms, &task->stdin_data, &task->stdin_len, err);
	if (r < 0)
		return r;
	if (!order->has_ttl)
		fit_ttl(task);
	task->created_ms = clock_wall_ms();
	if (task_encode(task, out) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "encode the task");
	return check(order, out, err);
}

void order_clear(struct order *order)
{
	task_free(order->task);
	order->task = NULL;
}
