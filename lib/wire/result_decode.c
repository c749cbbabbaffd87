/* The reading half of wire/result.h, for the tool and the tests. Lenient where it can be: unknown fields are skipped and
 * most known ones may be absent, so that an old tool reads a newer worker; types and limits are checked all the same,
 * because anybody may write to a topic. */
#include "wire/result.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/hex.h"
#include "wire/unpack.h"

/* What a result may hold at most; of output twice what this version sends, for a newer worker. */
#define READ_STREAM_BYTES (2 * (RESULT_HEAD_BYTES + RESULT_TAIL_BYTES))
#define READ_EXIT_CODE	  255 /* wait(2) */
#define READ_SIGNAL	  64
#define READ_TOKEN	  ((1ull << 53) - 1) /* schemas/lease.md */

#define FIELD(name, reader, type, member, most)                                              \
	{                                                                                    \
		.key = name, .read = reader, .offset = offsetof(type, member), .max = (most) \
	}
#define CHARS(name, type, member) FIELD(name, unpack_rule_chars, type, member, sizeof(((type *)NULL)->member) - 1)

typedef const char *(*name_fn)(unsigned i);

static int read_name(const struct unpack_value *value, name_fn name_of, unsigned n, unsigned *ret)
{
	struct unpack_text text;
	int r = unpack_text(value, 0, 32, &text);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < n; i++) {
		if (strlen(name_of(i)) != text.len || memcmp(name_of(i), text.text, text.len) != 0)
			continue;
		*ret = i;
		return 0;
	}
	return unpack_fail(value, "is not a word known here");
}

static const char *event_name(unsigned i)
{
	return result_event_name((enum result_event)i);
}

static const char *kind_name(unsigned i)
{
	return task_kind_name((enum task_kind)i);
}

static const char *outcome_name(unsigned i)
{
	return result_outcome_name((enum result_outcome)i);
}

static const char *ran_name(unsigned i)
{
	return result_ran_name((enum result_ran)i);
}

static int read_event(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	unsigned found = 0;
	int r = read_name(value, event_name, RESULT_EVENT_COUNT, &found);

	(void)rule;
	result->event = (enum result_event)found;
	return r;
}

static int read_kind(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	unsigned found = 0;
	int r = read_name(value, kind_name, TASK_KIND_COUNT, &found);

	(void)rule;
	result->kind = (enum task_kind)found;
	return r;
}

static int read_outcome(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	unsigned found = 0;
	int r = read_name(value, outcome_name, RESULT_OUTCOME_COUNT, &found);

	(void)rule;
	result->outcome = (enum result_outcome)found;
	return r;
}

static int read_ran(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	unsigned found = 0;
	int r = read_name(value, ran_name, RESULT_RAN_COUNT, &found);

	(void)rule;
	result->ran = (enum result_ran)found;
	return r;
}

/* "" when a rejected record had none. */
static int read_id(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	const char *id = (char *)into + rule->offset;
	int r = unpack_rule_chars(value, rule, into);

	if (r == 0 && (*id || rule->min) && !ident_is_id(id, strlen(id)))
		return unpack_fail(value, "is not an id");
	return r;
}

static int read_exit_code(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;

	if (unpack_is_nil(value))
		return 0;
	result->has_exit_code = true;
	return unpack_rule_u32(value, rule, into);
}

static int read_signal(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;

	if (unpack_is_nil(value))
		return 0;
	result->has_signal = true;
	return unpack_rule_u32(value, rule, into);
}

static int read_buf(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct buf *buf = (struct buf *)(void *)((char *)into + rule->offset);
	const uint8_t *data;
	size_t len;
	int r = unpack_bytes(value, (size_t)rule->max, &data, &len);

	return r < 0 ? r : buf_append(buf, data, len);
}

static int read_sha256(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	uint8_t *sha256 = (uint8_t *)into + rule->offset;
	struct unpack_text hex;
	int r = unpack_text(value, HEX_CHARS(32), HEX_CHARS(32), &hex);

	if (r == 0 && !hex_read(hex.text, 32, sha256))
		return unpack_fail(value, "must be 64 lower-case hex digits");
	return r;
}

static int read_stream(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct unpack_rule inner[] = {
		FIELD("head", read_buf, struct result_stream, head, READ_STREAM_BYTES),
		FIELD("tail", read_buf, struct result_stream, tail, READ_STREAM_BYTES),
		FIELD("bytes", unpack_rule_u64, struct result_stream, bytes, INT64_MAX),
		FIELD("kept", unpack_rule_u64, struct result_stream, bytes_kept, INT64_MAX),
		FIELD("sha256", read_sha256, struct result_stream, sha256, 0),
	};

	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, (char *)into + rule->offset);
}

static int read_file_path(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result_file *file = into;
	struct unpack_text text;
	int r = unpack_text(value, 1, TASK_MAX_PATH_BYTES, &text);

	(void)rule;
	if (r < 0)
		return r;
	file->path = strndup(text.text, text.len);
	return file->path ? 0 : -ENOMEM;
}

static int read_file_data(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result_file *file = into;
	const uint8_t *data;
	int r;

	if (unpack_is_nil(value))
		return 0;
	r = unpack_bytes(value, (size_t)rule->max, &data, &file->len);
	if (r < 0)
		return r;
	file->data = malloc(file->len + 1); /* not NULL for an empty file: NULL says "not inline" */
	if (!file->data)
		return -ENOMEM;
	memcpy(file->data, data, file->len);
	return 0;
}

static int read_file(const struct unpack_value *value, struct result_file *file)
{
	static const struct unpack_rule inner[] = {
		{ .key = "path", .read = read_file_path, .is_required = true },
		FIELD("data", read_file_data, struct result_file, data, RESULT_MAX_BYTES),
		FIELD("size", unpack_rule_u64, struct result_file, size, INT64_MAX),
		FIELD("mode", unpack_rule_u32, struct result_file, mode, 07777),
		FIELD("sha256", read_sha256, struct result_file, sha256, 0),
		CHARS("error", struct result_file, error),
	};

	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, file);
}

static int read_files(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	size_t n = 0;
	int r = unpack_array(value, 0, (size_t)rule->max, &n);

	if (r < 0 || n == 0)
		return r;
	result->files = calloc(n, sizeof(*result->files));
	if (!result->files)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value item = unpack_item(value, i);

		r = read_file(&item, &result->files[result->n_files++]);
	}
	return r;
}

static int read_labels(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	size_t n = 0;
	int r = unpack_pairs(value, (size_t)rule->max, &n);

	if (r < 0 || n == 0)
		return r;
	result->labels = calloc(n, sizeof(*result->labels));
	if (!result->labels)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct unpack_value pair = unpack_pair(value, i);
		struct task_pair *label = &result->labels[result->n_labels++];
		struct unpack_text text = { .text = "" };

		r = unpack_text(&pair, 0, RESULT_MAX_BYTES, &text);
		label->key = strndup(pair.key, pair.key_len);
		label->value = strndup(text.text, text.len);
		if (!label->key || !label->value)
			r = -ENOMEM;
	}
	return r;
}

static int read_timings(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct unpack_rule inner[RESULT_TIMING_COUNT];
	struct result *result = into;

	(void)rule;
	for (unsigned i = 0; i < RESULT_TIMING_COUNT; i++)
		inner[i] = (struct unpack_rule){ .key = result_timing_name((enum result_timing)i),
						 .read = unpack_rule_u64, /* INT64_MAX at most, so it fits */
						 .offset = i * sizeof(result->timings_ms[0]),
						 .max = INT64_MAX };
	return unpack_map(value, inner, RESULT_TIMING_COUNT, UNPACK_UNKNOWN_SKIPPED, result->timings_ms);
}

static int read_usage(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct unpack_rule inner[] = {
		FIELD("cpu_ms", unpack_rule_u64, struct result, cpu_ms, INT64_MAX),
		FIELD("max_rss_kib", unpack_rule_u64, struct result, max_rss_kib, INT64_MAX),
	};

	(void)rule;
	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, into);
}

static int read_isolation(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct unpack_rule inner[] = {
		CHARS("vmm", struct result, vmm),
		CHARS("accel", struct result, accel),
		CHARS("disk", struct result, disk),
		CHARS("net", struct result, net),
		CHARS("start", struct result, start),
	};

	(void)rule;
	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, into);
}

static int read_partition(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	uint64_t number;
	int r = unpack_uint(value, 0, rule->max, &number);

	if (r == 0)
		result->partition = (int32_t)number;
	return r;
}

static int read_source(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct unpack_rule inner[] = {
		CHARS("topic", struct result, topic),
		FIELD("partition", read_partition, struct result, partition, INT32_MAX),
		FIELD("offset", unpack_rule_u64, struct result, offset, INT64_MAX),
	};

	(void)rule;
	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, into);
}

static int read_twin_partition(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct result *result = into;
	uint64_t number;
	int r = unpack_uint(value, 0, rule->max, &number);

	if (r == 0)
		result->same_as.partition = (int32_t)number;
	return r;
}

static int read_same_as(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	static const struct unpack_rule inner[] = {
		CHARS("topic", struct result, same_as.topic),
		FIELD("partition", read_twin_partition, struct result, same_as.partition, INT32_MAX),
		FIELD("offset", unpack_rule_u64, struct result, same_as.offset, INT64_MAX),
	};

	(void)rule;
	return unpack_map(value, inner, ARRAY_SIZE(inner), UNPACK_UNKNOWN_SKIPPED, into);
}

static const struct unpack_rule rules[] = {
	{ .key = "v", .read = unpack_rule_version, .max = RESULT_SCHEMA_VERSION, .is_required = true },
	{ .key = "event", .read = read_event, .is_required = true },
	{ .key = "id",
	  .read = read_id,
	  .offset = offsetof(struct result, id),
	  .max = IDENT_ID_MAX,
	  .is_required = true },
	FIELD("kind", read_kind, struct result, kind, 0),
	FIELD("outcome", read_outcome, struct result, outcome, 0),
	FIELD("ran", read_ran, struct result, ran, 0),
	FIELD("exit_code", read_exit_code, struct result, exit_code, READ_EXIT_CODE),
	FIELD("signal", read_signal, struct result, signal, READ_SIGNAL),
	CHARS("message", struct result, message),
	CHARS("field", struct result, field),
	FIELD("stdout", read_stream, struct result, out, 0),
	FIELD("stderr", read_stream, struct result, err_out, 0),
	FIELD("files", read_files, struct result, files, RESULT_MAX_FILES),
	FIELD("timings_ms", read_timings, struct result, timings_ms, 0),
	FIELD("usage", read_usage, struct result, cpu_ms, 0),
	FIELD("isolation", read_isolation, struct result, vmm, 0),
	FIELD("key_destroyed", unpack_rule_bool, struct result, is_key_destroyed, 0),
	CHARS("host", struct result, host),
	CHARS("worker", struct result, worker),
	FIELD("attempt", unpack_rule_u32, struct result, attempt, UINT32_MAX),
	FIELD("token", unpack_rule_u64, struct result, token, READ_TOKEN),
	FIELD("labels", read_labels, struct result, labels, TASK_MAX_LABELS),
	FIELD("finished_ms", unpack_rule_u64, struct result, finished_ms, INT64_MAX),
	FIELD("source", read_source, struct result, topic, 0),
	FIELD("same_as", read_same_as, struct result, same_as, 0),
};

static int check_finish(const struct unpack_value *root, struct result *result)
{
	struct unpack_value outcome;

	if (!result_is_answer(result) || unpack_find(root, "outcome", &outcome))
		return 0;
	outcome = (struct unpack_value){
		.parent = root, .key = "outcome", .key_len = strlen("outcome"), .flaw = root->flaw
	};
	return unpack_fail(&outcome, "is missing");
}

int result_decode(const uint8_t *data, size_t len, struct result *ret, char why[160])
{
	static const struct prescan_limits limits = { RESULT_MAX_BYTES, RESULT_MAX_DEPTH, RESULT_MAX_NODES };
	struct unpack_flaw flaw = { .field = "" };
	struct unpack unpack;
	int r;

	result_init(ret);
	r = unpack_open(&unpack, data, len, &limits, &flaw);
	if (r == 0) {
		r = unpack_map(&unpack.root, rules, ARRAY_SIZE(rules), UNPACK_UNKNOWN_SKIPPED, ret);
		if (r == 0)
			r = check_finish(&unpack.root, ret);
		unpack_close(&unpack);
	}
	if (r < 0)
		result_clear(ret);
	if (r == -EBADMSG)
		unpack_flaw_text(&flaw, why);
	return r;
}
