/* The codec of the guest channel. One table says which fields each type of frame carries and within which bounds; it is
 * read in both directions, so that encoder and decoder cannot drift apart. */
#include "wire/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "wire/pack.h"
#include "wire/unpack.h"

#define PREFIX_BYTES	 4
#define FRAME_MAX_DEPTH	 3   /* the frame, its env or argv, a string in it */
#define FRAME_FIELDS_MAX 15  /* of one type */
#define HOSTNAME_MAX	 63  /* one DNS label */
#define ERROR_MAX	 255 /* bytes of a sentence */
#define SIGNAL_MAX	 64
#define EXIT_CODE_MAX	 255
#define COMM_MAX	 15 /* of a process, TASK_COMM_LEN without its NUL */

enum kind {
	KIND_U32,
	/* a number; first of its type. With another one than FRAME_VERSION it is the only field that is read */
	KIND_VERSION,
	KIND_U64,
	KIND_BOOL,
	KIND_TEXT,
	KIND_MENDED, /* text of unknown origin: sent with '?' for what is not text */
	KIND_BYTES,  /* a pointer, and its length in the next field */
	KIND_TEXTS,  /* an array of struct frame_text, and its count in the next field */
	KIND_PAIRS   /* an array of struct frame_pair, and its count in the next field */
};

struct field {
	const char *key;
	enum kind kind;
	size_t offset;
	uint64_t min, max; /* of a number, of bytes, or of elements */
};

struct shape {
	const char *name;
	struct field fields[FRAME_FIELDS_MAX];
};

/* clang-format off */
#define FIELD(member, what, least, most) { #member, (what), offsetof(struct frame, member), (least), (most) }
#define FIELD_EXEC FIELD(exec, KIND_U32, 1, UINT32_MAX)

static const struct shape shapes[] = {
	[FRAME_WARM] = { "warm", { FIELD(version, KIND_VERSION, 0, UINT32_MAX), FIELD(has_disk, KIND_BOOL, 0, 0) } },
	[FRAME_SETUP] = { "setup", {
		FIELD(version, KIND_VERSION, 0, UINT32_MAX),
		FIELD(data, KIND_BYTES, 32, FRAME_ENTROPY_BYTES),
		FIELD(realtime_ns, KIND_U64, 0, INT64_MAX),
		FIELD(hostname, KIND_TEXT, 1, HOSTNAME_MAX) } },
	[FRAME_MOUNT] = { .name = "mount" },
	[FRAME_CLOCK] = { "clock", { FIELD(realtime_ns, KIND_U64, 0, INT64_MAX) } },
	[FRAME_ATTACH] = { "attach", { FIELD(version, KIND_VERSION, 0, UINT32_MAX) } },
	[FRAME_PUT] = { "put", {
		FIELD_EXEC,
		FIELD(path, KIND_TEXT, 1, TASK_MAX_PATH_BYTES),
		FIELD(mode, KIND_U32, 0, TASK_MAX_FILE_MODE),
		FIELD(offset, KIND_U64, 0, INT64_MAX),
		FIELD(data, KIND_BYTES, 0, FRAME_DATA_MAX),
		FIELD(is_last, KIND_BOOL, 0, 0) } },
	[FRAME_RUN] = { "run", {
		FIELD_EXEC,
		FIELD(argv, KIND_TEXTS, 1, TASK_MAX_ARGS),
		FIELD(env, KIND_PAIRS, 0, TASK_MAX_ENV),
		FIELD(timeout_ms, KIND_U64, 1, INT64_MAX),
		FIELD(output_limit_bytes, KIND_U64, 0, TASK_MAX_OUTPUT_BYTES),
		FIELD(window, KIND_U64, FRAME_DATA_MAX, FRAME_WINDOW_BYTES),
		FIELD(oom_ends_one, KIND_BOOL, 0, 0) } },
	[FRAME_STDIN] = { "stdin", {
		FIELD_EXEC,
		FIELD(offset, KIND_U64, 0, INT64_MAX),
		FIELD(data, KIND_BYTES, 0, FRAME_DATA_MAX),
		FIELD(is_last, KIND_BOOL, 0, 0) } },
	[FRAME_ACK] = { "ack", {
		FIELD_EXEC,
		FIELD(stream, KIND_U32, 1, 2),
		FIELD(offset, KIND_U64, 0, INT64_MAX) } },
	[FRAME_KILL] = { "kill", {
		FIELD_EXEC,
		FIELD(signal, KIND_U32, 1, SIGNAL_MAX) } },
	[FRAME_COLLECT] = { "collect", {
		FIELD_EXEC,
		FIELD(paths, KIND_TEXTS, 1, TASK_MAX_COLLECT),
		FIELD(limit_bytes, KIND_U64, 0, INT64_MAX) } },
	[FRAME_RESUME] = { "resume", {
		FIELD_EXEC,
		FIELD(stdout_bytes, KIND_U64, 0, INT64_MAX),
		FIELD(stderr_bytes, KIND_U64, 0, INT64_MAX) } },
	[FRAME_END] = { "end", { FIELD_EXEC } },
	[FRAME_HELLO] = { "hello", {
		FIELD(version, KIND_VERSION, 0, UINT32_MAX),
		FIELD(elapsed_ms, KIND_U64, 0, INT64_MAX),
		FIELD(is_set_up, KIND_BOOL, 0, 0),
		FIELD(is_mounted, KIND_BOOL, 0, 0),
		FIELD(n_execs, KIND_U32, 0, FRAME_EXECS_MAX) } },
	[FRAME_WARMED] = { "warmed", {
		FIELD(is_warm, KIND_BOOL, 0, 0),
		FIELD(elapsed_ms, KIND_U64, 0, INT64_MAX),
		FIELD(error, KIND_MENDED, 0, ERROR_MAX) } },
	[FRAME_READY] = { "ready", { FIELD(elapsed_ms, KIND_U64, 0, INT64_MAX) } },
	[FRAME_STATUS] = { "status", {
		FIELD_EXEC,
		FIELD(is_running, KIND_BOOL, 0, 0),
		FIELD(is_started, KIND_BOOL, 0, 0),
		FIELD(stdin_bytes, KIND_U64, 0, INT64_MAX),
		FIELD(stdout_bytes, KIND_U64, 0, INT64_MAX),
		FIELD(stderr_bytes, KIND_U64, 0, INT64_MAX) } },
	[FRAME_STARTED] = { "started", { FIELD_EXEC } },
	[FRAME_OUT] = { "out", {
		FIELD_EXEC,
		FIELD(stream, KIND_U32, 1, 2),
		FIELD(offset, KIND_U64, 0, INT64_MAX),
		FIELD(data, KIND_BYTES, 1, FRAME_DATA_MAX) } },
	[FRAME_EXIT] = { "exit", {
		FIELD_EXEC,
		FIELD(has_exit_code, KIND_BOOL, 0, 0),
		FIELD(exit_code, KIND_U32, 0, EXIT_CODE_MAX),
		FIELD(signal, KIND_U32, 0, SIGNAL_MAX),
		FIELD(is_timed_out, KIND_BOOL, 0, 0),
		FIELD(is_oom, KIND_BOOL, 0, 0),
		FIELD(oom_kills, KIND_U64, 0, INT64_MAX),
		FIELD(oom_pid, KIND_U32, 0, INT32_MAX),
		FIELD(oom_process, KIND_MENDED, 0, COMM_MAX),
		FIELD(memory_kib, KIND_U64, 0, INT64_MAX),
		FIELD(stdout_bytes, KIND_U64, 0, INT64_MAX),
		FIELD(stderr_bytes, KIND_U64, 0, INT64_MAX),
		FIELD(cpu_ms, KIND_U64, 0, INT64_MAX),
		FIELD(max_rss_kib, KIND_U64, 0, INT64_MAX),
		FIELD(run_ms, KIND_U64, 0, INT64_MAX) } },
	[FRAME_FILE] = { "file", {
		FIELD_EXEC,
		FIELD(path, KIND_TEXT, 1, TASK_MAX_PATH_BYTES),
		FIELD(mode, KIND_U32, 0, FRAME_MODE_MAX),
		FIELD(size, KIND_U64, 0, INT64_MAX),
		FIELD(offset, KIND_U64, 0, INT64_MAX),
		FIELD(data, KIND_BYTES, 0, FRAME_DATA_MAX),
		FIELD(is_last, KIND_BOOL, 0, 0),
		FIELD(error, KIND_MENDED, 0, ERROR_MAX) } },
	[FRAME_COLLECTED] = { "collected", { FIELD_EXEC } },
	[FRAME_FAIL] = { "fail", {
		FIELD(exec, KIND_U32, 0, UINT32_MAX),
		FIELD(error, KIND_MENDED, 1, ERROR_MAX),
		FIELD(missing, KIND_MENDED, 0, FRAME_MISSING_MAX) } },
};
/* clang-format on */

static_assert(ARRAY_SIZE(shapes) == FRAME_TYPE_COUNT, "a shape for every type");
static_assert(sizeof(struct frame_text) == sizeof(struct unpack_text) &&
		      offsetof(struct frame_text, len) == offsetof(struct unpack_text, len),
	      "unpack_rule_text() fills a struct frame_text");
static_assert(offsetof(struct frame, len) == offsetof(struct frame, data) + sizeof(void *) &&
		      offsetof(struct frame, n_argv) == offsetof(struct frame, argv) + sizeof(void *) &&
		      offsetof(struct frame, n_env) == offsetof(struct frame, env) + sizeof(void *) &&
		      offsetof(struct frame, n_paths) == offsetof(struct frame, paths) + sizeof(void *),
	      "a count follows its pointer");

const char *frame_type_name(enum frame_type type)
{
	assert(type < FRAME_TYPE_COUNT);
	return shapes[type].name;
}

/* The views of a field in a frame that is read. */
static const void *at(const struct frame *frame, const struct field *field)
{
	return (const char *)frame + field->offset;
}

static const void *pointer_at(const struct frame *frame, const struct field *field)
{
	return *(const void *const *)at(frame, field);
}

static size_t count_at(const struct frame *frame, const struct field *field)
{
	return *(const size_t *)(const void *)((const char *)frame + field->offset + sizeof(void *));
}

static void pack_error(struct pack *pack, const struct frame_text *text)
{
	char copy[ERROR_MAX + 1] = { 0 };

	if (text->len)
		memcpy(copy, text->text, text->len < ERROR_MAX ? text->len : ERROR_MAX);
	pack_mended(pack, copy);
}

static void pack_texts(struct pack *pack, const struct frame_text *texts, size_t n)
{
	pack_array(pack, n);
	for (size_t i = 0; i < n; i++)
		pack_text(pack, texts[i].text, texts[i].len);
}

static void pack_pairs(struct pack *pack, const struct frame_pair *pairs, size_t n)
{
	struct pack_map map = pack_map_begin(pack);

	for (size_t i = 0; i < n; i++) {
		map.n++;
		pack_text(pack, pairs[i].key.text, pairs[i].key.len);
		pack_text(pack, pairs[i].value.text, pairs[i].value.len);
	}
	pack_map_end(pack, &map);
}

static void pack_value(struct pack *pack, const struct frame *frame, const struct field *field)
{
	const struct frame_text *text = at(frame, field);

	switch (field->kind) {
	case KIND_U32:
	case KIND_VERSION:
		pack_uint(pack, *(const uint32_t *)at(frame, field));
		return;
	case KIND_U64:
		pack_uint(pack, *(const uint64_t *)at(frame, field));
		return;
	case KIND_BOOL:
		pack_bool(pack, *(const bool *)at(frame, field));
		return;
	case KIND_TEXT:
		pack_text(pack, text->text, text->len);
		return;
	case KIND_MENDED:
		pack_error(pack, text);
		return;
	case KIND_BYTES:
		pack_bytes(pack, pointer_at(frame, field), count_at(frame, field));
		return;
	case KIND_TEXTS:
		pack_texts(pack, pointer_at(frame, field), count_at(frame, field));
		return;
	case KIND_PAIRS:
		pack_pairs(pack, pointer_at(frame, field), count_at(frame, field));
		return;
	}
	assert(false);
}

static void pack_frame(struct pack *pack, const struct frame *frame)
{
	const struct shape *shape = &shapes[frame->type];
	struct pack_map map = pack_map_begin(pack);

	for (size_t i = 0; i < FRAME_FIELDS_MAX && shape->fields[i].key; i++) {
		pack_key(pack, &map, shape->fields[i].key);
		pack_value(pack, frame, &shape->fields[i]);
	}
	pack_string_field(pack, &map, "t", shape->name); /* last, so that no frame ends with FRAME_SYNC */
	pack_map_end(pack, &map);
}

static void put_prefix(uint8_t *prefix, size_t len)
{
	for (int i = 0; i < PREFIX_BYTES; i++)
		prefix[i] = (uint8_t)(len >> (24 - 8 * i));
}

int frame_encode(const struct frame *frame, struct buf *out)
{
	static const uint8_t room[PREFIX_BYTES];
	size_t start = out->len;
	struct pack pack;
	int r;

	assert(frame->type < FRAME_TYPE_COUNT);
	r = buf_append(out, room, sizeof(room));
	if (r < 0)
		return r;
	pack_init(&pack, out);
	pack_frame(&pack, frame);
	r = pack_finish(&pack);
	if (r == 0 && out->len - start - PREFIX_BYTES > FRAME_MAX_BYTES)
		r = -E2BIG;
	if (r < 0)
		out->len = start;
	else
		put_prefix(out->data + start, out->len - start - PREFIX_BYTES);
	return r;
}

int64_t frame_extent(const uint8_t *data, size_t len)
{
	uint32_t size = 0;

	if (len < PREFIX_BYTES)
		return 0;
	for (int i = 0; i < PREFIX_BYTES; i++)
		size = size << 8 | data[i];
	if (size == 0 || size > FRAME_MAX_BYTES)
		return -EBADMSG;
	return (int64_t)size + PREFIX_BYTES;
}

static size_t *count_of(const struct unpack_rule *rule, struct frame *frame)
{
	return (size_t *)(void *)((char *)frame + rule->offset + sizeof(void *));
}

static int read_bytes(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	const uint8_t **data = (const uint8_t **)(void *)((char *)into + rule->offset);
	size_t *len = count_of(rule, into);
	int r = unpack_bytes(value, (size_t)rule->max, data, len);

	if (r == 0 && *len < rule->min)
		return unpack_fail(value, "must be at least %llu bytes long", (unsigned long long)rule->min);
	return r;
}

static int read_texts(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct frame_text **texts = (struct frame_text **)(void *)((char *)into + rule->offset);
	struct unpack_text text;
	size_t n;
	int r = unpack_array(value, (size_t)rule->min, (size_t)rule->max, &n);

	if (r < 0)
		return r;
	*texts = calloc(n, sizeof(**texts));
	if (!*texts)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value item = unpack_item(value, i);

		r = unpack_text(&item, 0, TASK_MAX_ARG_BYTES, &text);
		if (r == 0)
			(*texts)[i] = (struct frame_text){ .text = text.text, .len = text.len };
	}
	*count_of(rule, into) = n;
	return r;
}

static int read_pairs(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct frame_pair **pairs = (struct frame_pair **)(void *)((char *)into + rule->offset);
	struct unpack_text text;
	size_t n;
	int r = unpack_pairs(value, (size_t)rule->max, &n);

	if (r < 0 || n == 0)
		return r;
	*pairs = calloc(n, sizeof(**pairs));
	if (!*pairs)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value pair = unpack_pair(value, i);

		r = unpack_text(&pair, 0, TASK_MAX_ARG_BYTES, &text);
		(*pairs)[i].key = (struct frame_text){ .text = pair.key, .len = pair.key_len };
		if (r == 0)
			(*pairs)[i].value = (struct frame_text){ .text = text.text, .len = text.len };
	}
	*count_of(rule, into) = n;
	return r;
}

/* "t" was read before its rules were made. */
static int read_nothing(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	(void)value;
	(void)rule;
	(void)into;
	return 0;
}

static size_t make_rules(const struct shape *shape, struct unpack_rule rules[FRAME_FIELDS_MAX + 1])
{
	static const unpack_read_fn readers[] = {
		[KIND_U32] = unpack_rule_u32,	[KIND_VERSION] = unpack_rule_u32, [KIND_U64] = unpack_rule_u64,
		[KIND_BOOL] = unpack_rule_bool, [KIND_TEXT] = unpack_rule_text,   [KIND_MENDED] = unpack_rule_text,
		[KIND_BYTES] = read_bytes,	[KIND_TEXTS] = read_texts,	  [KIND_PAIRS] = read_pairs,
	};
	size_t n = 0;

	rules[n++] = (struct unpack_rule){ .key = "t", .read = read_nothing, .is_required = true };
	for (const struct field *field = shape->fields; n <= FRAME_FIELDS_MAX && field->key; field++)
		rules[n++] = (struct unpack_rule){ .key = field->key,
						   .read = readers[field->kind],
						   .offset = field->offset,
						   .min = field->min,
						   .max = field->max,
						   .is_required = true };
	return n;
}

static int read_type(const struct unpack_value *root, enum frame_type *ret)
{
	struct unpack_value value;
	struct unpack_text name;
	int r;

	if (!unpack_find(root, "t", &value))
		return unpack_fail(root, "the frame has no type 't'");
	r = unpack_text(&value, 1, 16, &name);
	if (r < 0)
		return r;
	for (unsigned type = 0; type < FRAME_TYPE_COUNT; type++)
		if (strlen(shapes[type].name) == name.len && memcmp(shapes[type].name, name.text, name.len) == 0) {
			*ret = (enum frame_type)type;
			return 0;
		}
	return unpack_fail(&value, "is not a known type of frame");
}

/* Does it say that it is of another version? Whatever else it says then is not for us to judge. */
static bool is_of_another_version(const struct unpack_value *root, const struct shape *shape, uint32_t *ret_version)
{
	struct unpack_value value;
	uint64_t version;

	if (shape->fields[0].kind != KIND_VERSION || !unpack_find(root, shape->fields[0].key, &value) ||
	    unpack_uint(&value, 0, UINT32_MAX, &version) < 0 || version == FRAME_VERSION)
		return false;
	*ret_version = (uint32_t)version;
	return true;
}

static int read_frame(const struct unpack_value *root, struct frame *frame)
{
	struct unpack_rule rules[FRAME_FIELDS_MAX + 1];
	int r = read_type(root, &frame->type);

	if (r < 0 || is_of_another_version(root, &shapes[frame->type], &frame->version))
		return r;
	return unpack_map(root, rules, make_rules(&shapes[frame->type], rules), UNPACK_UNKNOWN_REFUSED, frame);
}

int frame_decode(const uint8_t *data, size_t len, struct frame *ret, char why[160])
{
	static const struct prescan_limits limits = { .max_bytes = FRAME_MAX_BYTES,
						      .max_depth = FRAME_MAX_DEPTH,
						      .max_nodes = FRAME_MAX_NODES };
	struct unpack_flaw flaw = { .field = "" };
	struct frame frame = { 0 };
	struct unpack unpack;
	int r;

	if (len < PREFIX_BYTES || frame_extent(data, len) != (int64_t)len) {
		(void)snprintf(why, 160, "its length prefix does not match its %zu bytes", len);
		return -EBADMSG;
	}
	r = unpack_open(&unpack, data + PREFIX_BYTES, len - PREFIX_BYTES, &limits, &flaw);
	if (r == 0) {
		r = read_frame(&unpack.root, &frame);
		unpack_close(&unpack);
	}
	if (r == -EBADMSG)
		unpack_flaw_text(&flaw, why);
	if (r == 0)
		*ret = frame;
	else
		frame_clear(&frame);
	return r;
}

void frame_clear(struct frame *frame)
{
	free(frame->argv);
	free(frame->env);
	free(frame->paths);
	*frame = (struct frame){ 0 };
}
