#include "wire/pack.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

#define MENDED_MAX_BYTES 1023
#define LEAST_INSIDE (-32) /* the least number that is its own first byte */

/* First bytes of the msgpack specification. A kind has a form with its number inside (below `n_inside`), and forms with a big-endian
 * number of 1, 2, 4 or 8 bytes behind, in this order from `wide` on. */
struct form {
	uint8_t inside, n_inside, wide;
	unsigned narrowest; /* log2 of the bytes of the first wide form */
};

static const struct form form_uint = { 0x00, 0x80, 0xcc, 0 };
static const struct form form_text = { 0xa0, 0x20, 0xd9, 0 };
static const struct form form_bytes = { 0x00, 0, 0xc4, 0 };
static const struct form form_array = { 0x90, 0x10, 0xdc, 1 };

enum { LEAD_NIL = 0xc0, LEAD_FALSE = 0xc2, LEAD_TRUE = 0xc3, LEAD_DOUBLE = 0xcb, LEAD_INT8 = 0xd0 };
enum { LEAD_MAP16 = 0xde }; /* always the 16-bit form: the number of pairs is known only at the end */

/* Where the next `len` bytes go, or NULL. */
static uint8_t *grow(struct pack *pack, size_t len)
{
	struct buf *out = pack->out;

	if (pack->r == 0 && out->cap - out->len < len)
		pack->r = buf_reserve(out, len);
	if (pack->r < 0)
		return NULL;
	out->len += len;
	return out->data + out->len - len;
}

static void put_byte(struct pack *pack, uint8_t byte)
{
	uint8_t *at = grow(pack, 1);

	if (at)
		*at = byte;
}

static unsigned log2_width(uint64_t number, unsigned narrowest)
{
	unsigned width = number <= UINT8_MAX ? 0 : number <= UINT16_MAX ? 1 : number <= UINT32_MAX ? 2 : 3;

	return width < narrowest ? narrowest : width;
}

/* A first byte, `n_bytes` of a number, and `len` bytes. */
static void put_wide(struct pack *pack, uint8_t lead, uint64_t number, unsigned n_bytes, const void *data, size_t len)
{
	uint8_t *at = grow(pack, 1 + n_bytes + len);

	if (!at)
		return;
	*at++ = lead;
	while (n_bytes)
		*at++ = (uint8_t)(number >> 8 * --n_bytes);
	if (len)
		memcpy(at, data, len);
}

static void put(struct pack *pack, const struct form *form, uint64_t number, const void *data, size_t len)
{
	unsigned log2 = log2_width(number, form->narrowest);

	if (number < form->n_inside)
		put_wide(pack, (uint8_t)(form->inside | number), 0, 0, data, len);
	else
		put_wide(pack, (uint8_t)(form->wide + log2 - form->narrowest), number, 1u << log2, data, len);
}

void pack_init(struct pack *pack, struct buf *out)
{
	*pack = (struct pack){ .out = out, .start = out->len };
}

int pack_finish(struct pack *pack)
{
	if (pack->r < 0)
		pack->out->len = pack->start;
	return pack->r;
}

struct pack_map pack_map_begin(struct pack *pack)
{
	struct pack_map map = { .at = pack->out->len };
	uint8_t *at = grow(pack, 3);

	if (at) {
		at[0] = LEAD_MAP16;
		at[1] = at[2] = 0;
	}
	return map;
}

void pack_map_end(struct pack *pack, const struct pack_map *map)
{
	assert(map->n <= UINT16_MAX);
	if (pack->r < 0)
		return;
	pack->out->data[map->at + 1] = (uint8_t)(map->n >> 8);
	pack->out->data[map->at + 2] = (uint8_t)map->n;
}

void pack_array(struct pack *pack, size_t n)
{
	put(pack, &form_array, n, NULL, 0);
}

/* Nearly all that a message is made of: short texts, for which put() would take twice as long. */
void pack_text(struct pack *pack, const char *text, size_t len)
{
	struct buf *out = pack->out;

	if (len >= form_text.n_inside || pack->r < 0 || out->cap - out->len <= len) {
		put(pack, &form_text, len, text, len);
		return;
	}
	out->data[out->len++] = (uint8_t)(form_text.inside | len);
	if (len)
		memcpy(out->data + out->len, text, len);
	out->len += len;
}

void pack_mended(struct pack *pack, const char *text)
{
	size_t len = strnlen(text, MENDED_MAX_BYTES);

	pack_text(pack, text, len);
	if (pack->r == 0)
		utf8_mend((char *)pack->out->data + pack->out->len - len, len);
}

void pack_bytes(struct pack *pack, const void *data, size_t len)
{
	put(pack, &form_bytes, len, data, len);
}

void pack_uint(struct pack *pack, uint64_t number)
{
	if (number < form_uint.n_inside)
		put_byte(pack, (uint8_t)number);
	else
		put(pack, &form_uint, number, NULL, 0);
}

/* A negative one in two's complement, with the bit that says so. */
void pack_int(struct pack *pack, int64_t number)
{
	unsigned log2 = log2_width((uint64_t)~number << 1, 0);

	if (number >= 0)
		pack_uint(pack, (uint64_t)number);
	else if (number >= LEAST_INSIDE)
		put_byte(pack, (uint8_t)number);
	else
		put_wide(pack, (uint8_t)(LEAD_INT8 + log2), (uint64_t)number, 1u << log2, NULL, 0);
}

void pack_double(struct pack *pack, double number)
{
	uint64_t bits;

	static_assert(sizeof(bits) == sizeof(number), "an IEEE 754 double");
	memcpy(&bits, &number, sizeof(bits));
	put_wide(pack, LEAD_DOUBLE, bits, sizeof(bits), NULL, 0);
}

void pack_bool(struct pack *pack, bool fact)
{
	put_byte(pack, fact ? LEAD_TRUE : LEAD_FALSE);
}

void pack_nil(struct pack *pack)
{
	put_byte(pack, LEAD_NIL);
}
