#include "wire/prescan.h"

#include <assert.h>
#include <stdbool.h>

#include "base/own.h"

/* What the first byte of a value announces. */
struct lead {
	unsigned length_bytes; /* of the big-endian length that follows */
	uint64_t body;	       /* fixed bytes that follow, beside `length` payload bytes or children */
	uint64_t inline_count; /* children or payload bytes told by the first byte itself */
	enum { LEAD_BYTES, LEAD_ARRAY, LEAD_MAP, LEAD_NEVER } shape;
};

/* 0xc0 to 0xdf of the msgpack specification, a row for each kind. */
/* clang-format off */
static const struct lead leads[] = {
	{ 0,  0, 0, LEAD_BYTES }, { 0, 0, 0, LEAD_NEVER },                           /* nil, never used */
	{ 0,  0, 0, LEAD_BYTES }, { 0, 0, 0, LEAD_BYTES },                           /* false, true */
	{ 1,  0, 0, LEAD_BYTES }, { 2, 0, 0, LEAD_BYTES }, { 4, 0, 0, LEAD_BYTES },  /* bin */
	{ 1,  1, 0, LEAD_BYTES }, { 2, 1, 0, LEAD_BYTES }, { 4, 1, 0, LEAD_BYTES },  /* ext: a type byte, too */
	{ 0,  4, 0, LEAD_BYTES }, { 0, 8, 0, LEAD_BYTES },                           /* float */
	{ 0,  1, 0, LEAD_BYTES }, { 0, 2, 0, LEAD_BYTES }, { 0, 4, 0, LEAD_BYTES }, { 0, 8, 0, LEAD_BYTES }, /* uint */
	{ 0,  1, 0, LEAD_BYTES }, { 0, 2, 0, LEAD_BYTES }, { 0, 4, 0, LEAD_BYTES }, { 0, 8, 0, LEAD_BYTES }, /* int */
	{ 0,  2, 0, LEAD_BYTES }, { 0, 3, 0, LEAD_BYTES }, { 0, 5, 0, LEAD_BYTES }, { 0, 9, 0, LEAD_BYTES }, /* fixext */
	{ 0, 17, 0, LEAD_BYTES },                                                    /* fixext of 16 */
	{ 1,  0, 0, LEAD_BYTES }, { 2, 0, 0, LEAD_BYTES }, { 4, 0, 0, LEAD_BYTES },  /* str */
	{ 2,  0, 0, LEAD_ARRAY }, { 4, 0, 0, LEAD_ARRAY },
	{ 2,  0, 0, LEAD_MAP },   { 4, 0, 0, LEAD_MAP },
};
/* clang-format on */
static_assert(ARRAY_SIZE(leads) == 0x20, "a row for 0xc0 to 0xdf");

static struct lead lead_of(uint8_t byte)
{
	if (byte <= 0x7f || byte >= 0xe0) /* small numbers */
		return (struct lead){ .shape = LEAD_BYTES };
	if (byte <= 0x8f)
		return (struct lead){ .inline_count = byte & 0x0f, .shape = LEAD_MAP };
	if (byte <= 0x9f)
		return (struct lead){ .inline_count = byte & 0x0f, .shape = LEAD_ARRAY };
	if (byte <= 0xbf)
		return (struct lead){ .inline_count = byte & 0x1f, .shape = LEAD_BYTES };
	return leads[byte - 0xc0];
}

struct scan {
	const uint8_t *data;
	size_t len, at;
	const char *key; /* of the outermost map, whose value is being read; NULL: none */
	size_t key_len;
};

/* Reads one value's head and skips its payload. `*ret_children`: values to come inside it. */
static enum prescan_verdict skip_value(struct scan *scan, struct lead *ret_lead, uint64_t *ret_children)
{
	struct lead lead = lead_of(scan->data[scan->at++]);
	uint64_t count = lead.inline_count;

	if (lead.shape == LEAD_NEVER)
		return PRESCAN_VERDICT_NOT_MSGPACK;
	if (scan->len - scan->at < lead.length_bytes)
		return PRESCAN_VERDICT_TRUNCATED;
	for (unsigned i = 0; i < lead.length_bytes; i++)
		count = count << 8 | scan->data[scan->at++];
	*ret_lead = lead;
	*ret_children = lead.shape == LEAD_MAP ? 2 * count : lead.shape == LEAD_ARRAY ? count : 0;
	if (lead.shape == LEAD_BYTES)
		lead.body += count;
	if (lead.body > scan->len - scan->at || *ret_children > scan->len - scan->at) /* a child takes a byte or more */
		return PRESCAN_VERDICT_TRUNCATED;
	scan->at += (size_t)lead.body;
	return PRESCAN_VERDICT_OK;
}

/* A str that was just skipped: its text ends where the scan is. Anything else is no name. */
static void note_key(struct scan *scan, size_t start)
{
	uint8_t byte = scan->data[start];
	bool is_str = (byte >= 0xa0 && byte <= 0xbf) || (byte >= 0xd9 && byte <= 0xdb);
	size_t head = 1 + (is_str ? lead_of(byte).length_bytes : 0);

	scan->key = is_str ? (const char *)scan->data + start + head : NULL;
	scan->key_len = is_str ? scan->at - start - head : 0;
}

static enum prescan_verdict scan_all(struct scan *scan, const struct prescan_limits *limits)
{
	uint64_t left[PRESCAN_DEPTH_MAX + 1] = { 1 }; /* values to come, per depth */
	unsigned depth = 0, nodes = 0;
	bool is_map = false; /* the outermost value is one */

	while (left[0] || depth) {
		bool is_key = depth == 1 && is_map && left[1] % 2 == 0;
		size_t start = scan->at;
		enum prescan_verdict verdict;
		struct lead lead;
		uint64_t children;

		if (is_key)
			scan->key = NULL;
		if (!left[depth]) {
			depth--;
			continue;
		}
		left[depth]--;
		if (scan->at == scan->len)
			return PRESCAN_VERDICT_TRUNCATED;
		if (++nodes > limits->max_nodes)
			return PRESCAN_VERDICT_TOO_MANY;
		verdict = skip_value(scan, &lead, &children);
		if (verdict != PRESCAN_VERDICT_OK)
			return verdict;
		if (is_key)
			note_key(scan, start);
		if (scan->at > limits->max_bytes)
			return PRESCAN_VERDICT_TOO_LARGE;
		if (lead.shape == LEAD_BYTES)
			continue;
		if (depth == limits->max_depth)
			return PRESCAN_VERDICT_TOO_DEEP;
		is_map = depth == 0 ? lead.shape == LEAD_MAP : is_map;
		left[++depth] = children;
	}
	return scan->at == scan->len ? PRESCAN_VERDICT_OK : PRESCAN_VERDICT_TRAILING;
}

enum prescan_verdict prescan(const uint8_t *data, size_t len, const struct prescan_limits *limits,
			     struct prescan_field *ret_field)
{
	struct scan scan = { .data = data, .len = len };
	enum prescan_verdict verdict;

	assert(limits->max_depth <= PRESCAN_DEPTH_MAX);
	verdict = len ? scan_all(&scan, limits) : PRESCAN_VERDICT_EMPTY;
	*ret_field = (struct prescan_field){ .key = scan.key, .key_len = scan.key ? scan.key_len : 0 };
	return len > limits->max_bytes ? PRESCAN_VERDICT_TOO_LARGE : verdict;
}

static const char *const verdict_texts[] = {
	"the message is well-formed",
	"the message is too large",
	"the message is empty; send one msgpack map",
	"the message is cut off, or a length in it is more than what follows",
	"the message nests arrays or maps too deep",
	"the message holds too many values",
	"the message is not msgpack",
	"bytes follow the message; send one msgpack map per record",
};
static_assert(ARRAY_SIZE(verdict_texts) == PRESCAN_VERDICT_COUNT, "a text for every prescan_verdict");

const char *prescan_verdict_text(enum prescan_verdict verdict)
{
	return (unsigned)verdict < PRESCAN_VERDICT_COUNT ? verdict_texts[verdict] : "unknown";
}
