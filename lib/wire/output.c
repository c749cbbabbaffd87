/* Output chunks and control messages (wire/result.h): two small flat maps. A reader of output skips what it does not know;
 * a worker refuses a control message that it does not understand whole. */
#include "wire/result.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/pack.h"
#include "wire/unpack.h"

#define OUTPUT_MAX_BYTES (OUTPUT_MAX_DATA_BYTES + 1024) /* with the other fields */
#define FLAT_MAX_DEPTH	 4				/* room for a newer worker's fields */
#define FLAT_MAX_NODES	 256

static int read_id(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	const char *id = (char *)into + rule->offset;
	int r = unpack_rule_chars(value, rule, into);

	if (r == 0 && !ident_is_id(id, strlen(id)))
		return unpack_fail(value,
				   "must be letters, digits, '.', '_' and '-', and start with a letter or digit");
	return r;
}

static int read_stream(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct output_chunk *chunk = into;
	struct unpack_text text;
	int r = unpack_text(value, 6, 6, &text);

	(void)rule;
	if (r < 0)
		return r;
	if (memcmp(text.text, "stdout", 6) == 0)
		chunk->stream = OUTPUT_STREAM_STDOUT;
	else if (memcmp(text.text, "stderr", 6) == 0)
		chunk->stream = OUTPUT_STREAM_STDERR;
	else
		return unpack_fail(value, "must be \"stdout\" or \"stderr\"");
	return 0;
}

static int read_data(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct output_chunk *chunk = into;

	return unpack_bytes(value, (size_t)rule->max, &chunk->data, &chunk->len);
}

static int read_control_kind(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	struct unpack_text text;
	int r = unpack_text(value, 1, 32, &text);

	(void)rule;
	(void)into; /* nothing depends on it while there is one kind */
	if (r == 0 && (text.len != 6 || memcmp(text.text, "cancel", 6) != 0))
		return unpack_fail(value, "is not a known kind of control message; send \"cancel\"");
	return r;
}

#define FIELD(name, reader, type, member, least, most)                                                        \
	{                                                                                                     \
		.key = name, .read = reader, .offset = offsetof(type, member), .min = (least), .max = (most), \
		.is_required = true                                                                           \
	}

static const struct unpack_rule output_rules[] = {
	{ .key = "v", .read = unpack_rule_version, .max = RESULT_SCHEMA_VERSION, .is_required = true },
	FIELD("id", read_id, struct output_chunk, id, 1, IDENT_ID_MAX),
	FIELD("stream", read_stream, struct output_chunk, stream, 0, 0),
	FIELD("seq", unpack_rule_u64, struct output_chunk, seq, 0, INT64_MAX),
	FIELD("offset", unpack_rule_u64, struct output_chunk, offset, 0, INT64_MAX),
	FIELD("attempt", unpack_rule_u32, struct output_chunk, attempt, 1, UINT32_MAX),
	FIELD("data", read_data, struct output_chunk, data, 0, OUTPUT_MAX_DATA_BYTES),
};

static const struct unpack_rule control_rules[] = {
	{ .key = "v", .read = unpack_rule_version, .max = RESULT_SCHEMA_VERSION, .is_required = true },
	{ .key = "kind", .read = read_control_kind, .is_required = true },
	FIELD("id", read_id, struct control, cancel_id, 1, IDENT_ID_MAX),
	FIELD("created_ms", unpack_rule_u64, struct control, created_ms, 0, TASK_MAX_CREATED_MS),
};

int output_encode(const struct output_chunk *chunk, struct buf *out)
{
	struct pack pack;
	struct pack_map map;

	pack_init(&pack, out);
	map = pack_map_begin(&pack);
	pack_uint_field(&pack, &map, "v", RESULT_SCHEMA_VERSION);
	pack_string_field(&pack, &map, "id", chunk->id);
	pack_string_field(&pack, &map, "stream", chunk->stream == OUTPUT_STREAM_STDERR ? "stderr" : "stdout");
	pack_uint_field(&pack, &map, "seq", chunk->seq);
	pack_uint_field(&pack, &map, "offset", chunk->offset);
	pack_uint_field(&pack, &map, "attempt", chunk->attempt);
	pack_bytes_field(&pack, &map, "data", chunk->data, chunk->len);
	pack_map_end(&pack, &map);
	return pack_finish(&pack);
}

int output_decode(const uint8_t *data, size_t len, struct output_chunk *ret, char why[160])
{
	static const struct prescan_limits limits = { OUTPUT_MAX_BYTES, FLAT_MAX_DEPTH, FLAT_MAX_NODES };

	*ret = (struct output_chunk){ .stream = OUTPUT_STREAM_STDOUT };
	return unpack_message(data, len, &limits, output_rules, ARRAY_SIZE(output_rules), UNPACK_UNKNOWN_SKIPPED, ret,
			      why);
}

int control_encode(const struct control *control, struct buf *out)
{
	struct pack pack;
	struct pack_map map;

	pack_init(&pack, out);
	map = pack_map_begin(&pack);
	pack_uint_field(&pack, &map, "v", RESULT_SCHEMA_VERSION);
	pack_string_field(&pack, &map, "kind", "cancel");
	pack_string_field(&pack, &map, "id", control->cancel_id);
	pack_uint_field(&pack, &map, "created_ms", control->created_ms);
	pack_map_end(&pack, &map);
	return pack_finish(&pack);
}

int control_decode(const uint8_t *data, size_t len, struct control *ret, char why[160])
{
	static const struct prescan_limits limits = { CONTROL_MAX_BYTES, FLAT_MAX_DEPTH, FLAT_MAX_NODES };

	*ret = (struct control){ .created_ms = 0 };
	return unpack_message(data, len, &limits, control_rules, ARRAY_SIZE(control_rules), UNPACK_UNKNOWN_REFUSED, ret,
			      why);
}
