#include "wire/unpack.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define KEY_SHOWN_BYTES	 40 /* of a key that a sender chose, in the path of a flaw */
#define ZONE_CHUNK_BYTES 1000 /* a task's values; glibc keeps blocks up to 1032 bytes at hand, and takes several times as long for larger ones */

static size_t put_nameless(const struct unpack_value *value, char *field, size_t size)
{
	int n = value->key ? snprintf(field, size, "\"\"") : snprintf(field, size, "[%zu]", value->index);

	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* Appends the path of `value` to field[used]; answers the new length. Cut when it is full. */
static size_t put_path(const struct unpack_value *value, char *field, size_t size)
{
	size_t used = value->parent ? put_path(value->parent, field, size) : 0;
	size_t shown = value->key_len < KEY_SHOWN_BYTES ? value->key_len : KEY_SHOWN_BYTES;

	if (!value->parent)
		return 0;
	if (value->key && used && used + 1 < size)
		field[used++] = '.';
	if (!value->key || !value->key_len)
		used += put_nameless(value, field + used, size - used);
	for (size_t i = 0; value->key && i < shown && used + 1 < size; i++)
		field[used++] = value->key[i] > 0x20 && value->key[i] < 0x7f ? value->key[i] : '?';
	field[used] = '\0';
	return used;
}

int unpack_fail(const struct unpack_value *value, const char *fmt, ...)
{
	struct unpack_flaw *flaw = value->flaw;
	va_list ap;

	flaw->field[0] = '\0';
	(void)put_path(value, flaw->field, sizeof(flaw->field));
	va_start(ap, fmt);
	(void)vsnprintf(flaw->message, sizeof(flaw->message), fmt, ap); /* a cut message is still a message */
	va_end(ap);
	return -EBADMSG;
}

void unpack_flaw_text(const struct unpack_flaw *flaw, char out[160])
{
	const char *separator = flaw->field[0] ? ": " : "";

	(void)snprintf(out, 160, "%s%s%.*s", flaw->field, separator, 90, flaw->message);
}

/* JSON and other text are msgpack integers to a decoder, one for each character. */
static bool looks_like_json(const uint8_t *data, size_t len)
{
	static const uint8_t mark[] = { 0xef, 0xbb, 0xbf }; /* that some editors put before UTF-8 */

	if (len >= sizeof(mark) && memcmp(data, mark, sizeof(mark)) == 0) {
		data += sizeof(mark);
		len -= sizeof(mark);
	}
	while (len && (*data == ' ' || (*data >= '\t' && *data <= '\r'))) {
		data++;
		len--;
	}
	return len && (*data == '{' || *data == '[' || *data == '"');
}

static bool looks_like_text(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != '\t' && data[i] != '\n' && data[i] != '\r' && (data[i] < 0x20 || data[i] > 0x7e))
			return false;
	return true;
}

static bool starts_a_map(uint8_t byte)
{
	return (byte & 0xf0) == 0x80 || byte == 0xde || byte == 0xdf;
}

static const char *describe_no_map(const uint8_t *data, size_t len)
{
	if (looks_like_json(data, len))
		return "this looks like JSON text; the message must be one msgpack map";
	if (looks_like_text(data, len))
		return "this looks like text; the message must be one msgpack map";
	return "the message must be one msgpack map, and begins with a value of another kind";
}

static const char *describe(enum prescan_verdict verdict, const uint8_t *data, size_t len)
{
	return verdict == PRESCAN_VERDICT_TRAILING && !starts_a_map(data[0]) ? describe_no_map(data, len)
									     : prescan_verdict_text(verdict);
}

int unpack_open(struct unpack *unpack, const uint8_t *data, size_t len, const struct prescan_limits *limits,
		struct unpack_flaw *flaw)
{
	struct prescan_field field;
	enum prescan_verdict verdict = prescan(data, len, limits, &field);
	msgpack_unpack_return unpacked;
	size_t used = 0;

	unpack->root = (struct unpack_value){ .object = &unpack->object, .flaw = flaw };
	if (verdict != PRESCAN_VERDICT_OK) {
		struct unpack_value broken = {
			.parent = &unpack->root, .key = field.key, .key_len = field.key_len, .flaw = flaw
		};

		return unpack_fail(field.key ? &broken : &unpack->root, "%s", describe(verdict, data, len));
	}
	if (!msgpack_zone_init(&unpack->zone, ZONE_CHUNK_BYTES))
		return -ENOMEM;
	unpacked = msgpack_unpack((const char *)data, len, &used, &unpack->zone, &unpack->object);
	if (unpacked == MSGPACK_UNPACK_SUCCESS && unpack->object.type == MSGPACK_OBJECT_MAP)
		return 0;
	msgpack_zone_destroy(&unpack->zone);
	if (unpacked == MSGPACK_UNPACK_NOMEM_ERROR)
		return -ENOMEM;
	return unpack_fail(&unpack->root, "%s", describe_no_map(data, len));
}

void unpack_close(struct unpack *unpack)
{
	msgpack_zone_destroy(&unpack->zone);
}

static bool is_key(const msgpack_object *key, const char *name, size_t len)
{
	return key->type == MSGPACK_OBJECT_STR && key->via.str.size == len &&
	       (!len || memcmp(key->via.str.ptr, name, len) == 0);
}

struct unpack_value unpack_item(const struct unpack_value *array, size_t i)
{
	return (struct unpack_value){
		.object = &array->object->via.array.ptr[i], .parent = array, .index = i, .flaw = array->flaw
	};
}

struct unpack_value unpack_pair(const struct unpack_value *map, size_t i)
{
	const msgpack_object_kv *pair = &map->object->via.map.ptr[i];
	bool is_text = pair->key.type == MSGPACK_OBJECT_STR;

	return (struct unpack_value){
		.object = &pair->val,
		.parent = map,
		.key = is_text ? (pair->key.via.str.size ? pair->key.via.str.ptr : "") : NULL,
		.key_len = is_text ? pair->key.via.str.size : 0,
		.index = i,
		.flaw = map->flaw,
	};
}

bool unpack_find(const struct unpack_value *map, const char *key, struct unpack_value *ret)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < map->object->via.map.size; i++) {
		if (!is_key(&map->object->via.map.ptr[i].key, key, len))
			continue;
		*ret = unpack_pair(map, i);
		return true;
	}
	return false;
}

static int check_text(const struct unpack_value *value, const char *what, const struct unpack_text *text)
{
	if (text->len && memchr(text->text, '\0', text->len))
		return unpack_fail(value, "%s must not hold a NUL byte", what);
	if (!utf8_is_valid(text->text, text->len))
		return unpack_fail(value, "%s must be valid UTF-8", what);
	return 0;
}

/* The nodes of a message are few, so comparing each key with those before it is cheap. */
static bool is_repeated(const struct unpack_value *map, const struct unpack_value *pair)
{
	for (size_t i = 0; i < pair->index; i++)
		if (is_key(&map->object->via.map.ptr[i].key, pair->key, pair->key_len))
			return true;
	return false;
}

/* What holds for the keys of every map, known or unknown. */
static int check_key(const struct unpack_value *map, const struct unpack_value *pair)
{
	int r;

	if (!pair->key)
		return unpack_fail(pair, "the key of this pair must be a msgpack str");
	r = check_text(pair, "the key", &(struct unpack_text){ .text = pair->key, .len = pair->key_len });
	if (r < 0)
		return r;
	if (is_repeated(map, pair))
		return unpack_fail(pair, "is given twice; keep one");
	return 0;
}

static const struct unpack_rule *find_rule(const struct unpack_value *pair, const struct unpack_rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rules[i].key[0] == pair->key[0] && strlen(rules[i].key) == pair->key_len &&
		    memcmp(rules[i].key, pair->key, pair->key_len) == 0)
			return &rules[i];
	return NULL;
}

static int check_required(const struct unpack_value *map, const struct unpack_rule *rules, size_t n,
			  const bool *is_seen)
{
	for (size_t i = 0; i < n; i++) {
		struct unpack_value missing = {
			.parent = map, .key = rules[i].key, .key_len = strlen(rules[i].key), .flaw = map->flaw
		};

		if (rules[i].is_required && !is_seen[i])
			return unpack_fail(&missing, "is missing");
	}
	return 0;
}

int unpack_map(const struct unpack_value *value, const struct unpack_rule *rules, size_t n_rules,
	       enum unpack_unknown unknown, void *into)
{
	bool is_seen[UNPACK_RULES_MAX] = { false };

	assert(n_rules <= UNPACK_RULES_MAX);
	if (value->object->type != MSGPACK_OBJECT_MAP)
		return unpack_fail(value, "must be a map");
	for (size_t i = 0; i < value->object->via.map.size; i++) {
		struct unpack_value pair = unpack_pair(value, i);
		int r = check_key(value, &pair);
		const struct unpack_rule *rule = r == 0 ? find_rule(&pair, rules, n_rules) : NULL;

		if (r == 0 && !rule && unknown == UNPACK_UNKNOWN_REFUSED)
			r = unpack_fail(&pair, "is not a known field; remove it");
		if (rule)
			r = rule->read(&pair, rule, into);
		if (r < 0)
			return r;
		if (rule)
			is_seen[rule - rules] = true;
	}
	return check_required(value, rules, n_rules, is_seen);
}

int unpack_uint(const struct unpack_value *value, uint64_t min, uint64_t max, uint64_t *ret)
{
	const msgpack_object *object = value->object;

	if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER && object->type != MSGPACK_OBJECT_NEGATIVE_INTEGER)
		return unpack_fail(value, "must be a whole number" UNPACK_SENT_AS "integer");
	if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER || object->via.u64 < min || object->via.u64 > max)
		return unpack_fail(value, "must be from %llu to %llu", (unsigned long long)min,
				   (unsigned long long)max);
	*ret = object->via.u64;
	return 0;
}

int unpack_bool(const struct unpack_value *value, bool *ret)
{
	if (value->object->type != MSGPACK_OBJECT_BOOLEAN)
		return unpack_fail(value, "must be true or false");
	*ret = value->object->via.boolean;
	return 0;
}

int unpack_text(const struct unpack_value *value, size_t min, size_t max, struct unpack_text *ret)
{
	const msgpack_object_str *str = &value->object->via.str;
	struct unpack_text text;
	int r;

	if (value->object->type != MSGPACK_OBJECT_STR)
		return unpack_fail(value, "must be text" UNPACK_SENT_AS "str");
	if (str->size < min || str->size > max)
		return unpack_fail(value, "must be %zu to %zu bytes long, not %u", min, max, str->size);
	text = (struct unpack_text){ .text = str->size ? str->ptr : "", .len = str->size };
	r = check_text(value, "the text", &text);
	if (r == 0)
		*ret = text;
	return r;
}

int unpack_bytes(const struct unpack_value *value, size_t max, const uint8_t **ret, size_t *ret_len)
{
	const msgpack_object *object = value->object;
	bool is_bin = object->type == MSGPACK_OBJECT_BIN;
	const char *data;
	size_t len;

	if (!is_bin && object->type != MSGPACK_OBJECT_STR)
		return unpack_fail(value, "must be bytes" UNPACK_SENT_AS "bin or str");
	data = is_bin ? object->via.bin.ptr : object->via.str.ptr;
	len = is_bin ? object->via.bin.size : object->via.str.size;
	if (len > max)
		return unpack_fail(value, "must be at most %zu bytes long, not %zu", max, len);
	*ret = (const uint8_t *)(len ? data : "");
	*ret_len = len;
	return 0;
}

bool unpack_is_nil(const struct unpack_value *value)
{
	return value->object->type == MSGPACK_OBJECT_NIL;
}

int unpack_array(const struct unpack_value *value, size_t min, size_t max, size_t *ret_n)
{
	size_t n;

	if (value->object->type != MSGPACK_OBJECT_ARRAY)
		return unpack_fail(value, "must be an array");
	n = value->object->via.array.size;
	if (n < min || n > max)
		return unpack_fail(value, "must have %zu to %zu elements, not %zu", min, max, n);
	*ret_n = n;
	return 0;
}

int unpack_pairs(const struct unpack_value *value, size_t max, size_t *ret_n)
{
	size_t n;

	if (value->object->type != MSGPACK_OBJECT_MAP)
		return unpack_fail(value, "must be a map");
	n = value->object->via.map.size;
	if (n > max)
		return unpack_fail(value, "must have at most %zu pairs, not %zu", max, n);
	for (size_t i = 0; i < n; i++) {
		struct unpack_value pair = unpack_pair(value, i);
		int r = check_key(value, &pair);

		if (r < 0)
			return r;
	}
	*ret_n = n;
	return 0;
}

static void *field_of(const struct unpack_rule *rule, void *into)
{
	return (char *)into + rule->offset;
}

int unpack_rule_u32(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	uint64_t number = 0; /* gcc -O2 cannot see that unpack_uint() filled it */
	int r;

	assert(rule->max <= UINT32_MAX);
	r = unpack_uint(value, rule->min, rule->max, &number);
	if (r == 0)
		*(uint32_t *)field_of(rule, into) = (uint32_t)number;
	return r;
}

int unpack_rule_u64(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	return unpack_uint(value, rule->min, rule->max, field_of(rule, into));
}

int unpack_rule_bool(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	return unpack_bool(value, field_of(rule, into));
}

int unpack_rule_text(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	return unpack_text(value, (size_t)rule->min, (size_t)rule->max, field_of(rule, into));
}

int unpack_rule_chars(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	char *chars = field_of(rule, into);
	struct unpack_text text = { 0 };
	int r = unpack_text(value, (size_t)rule->min, (size_t)rule->max, &text);

	if (r < 0)
		return r;
	memcpy(chars, text.text, text.len);
	chars[text.len] = '\0';
	return 0;
}

int unpack_rule_version(const struct unpack_value *value, const struct unpack_rule *rule, void *into)
{
	uint64_t version = 0; /* as above */
	int r;

	(void)into; /* nothing depends on it while there is one version */
	if (value->object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		return unpack_fail(value, "schema version %lld is not known here, only %llu",
				   (long long)value->object->via.i64, (unsigned long long)rule->max);
	r = unpack_uint(value, 0, UINT64_MAX, &version);
	if (r == 0 && version != rule->max)
		return unpack_fail(value, "schema version %llu is not known here, only %llu",
				   (unsigned long long)version, (unsigned long long)rule->max);
	return r;
}

int unpack_message(const uint8_t *data, size_t len, const struct prescan_limits *limits,
		   const struct unpack_rule *rules, size_t n_rules, enum unpack_unknown unknown, void *into,
		   char why[160])
{
	struct unpack_flaw flaw = { .field = "" };
	struct unpack unpack;
	int r = unpack_open(&unpack, data, len, limits, &flaw);

	if (r == 0) {
		r = unpack_map(&unpack.root, rules, n_rules, unknown, into);
		unpack_close(&unpack);
	}
	if (r == -EBADMSG)
		unpack_flaw_text(&flaw, why);
	return r;
}
