#include "wire/pack.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

#define MAP16_HEAD 0xde /* always the 16-bit form: the number of pairs is known only at the end */

static int on_write(void *ctx, const char *data, size_t len)
{
	struct pack *pack = ctx;

	if (pack->r == 0)
		pack->r = buf_append(pack->out, data, len);
	return pack->r;
}

void pack_init(struct pack *pack, struct buf *out)
{
	pack->out = out;
	pack->start = out->len;
	pack->r = 0;
	msgpack_packer_init(&pack->packer, pack, on_write);
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
	static const char head[3] = { (char)MAP16_HEAD, 0, 0 };

	(void)on_write(pack, head, sizeof(head)); /* sticks in pack->r */
	return map;
}

void pack_key(struct pack *pack, struct pack_map *map, const char *key)
{
	map->n++;
	pack_string(pack, key);
}

void pack_map_end(struct pack *pack, const struct pack_map *map)
{
	assert(map->n <= UINT16_MAX);
	if (pack->r < 0)
		return;
	pack->out->data[map->at + 1] = (uint8_t)(map->n >> 8);
	pack->out->data[map->at + 2] = (uint8_t)map->n;
}

/* Every msgpack_pack_*() answers what on_write() answered, which sticks in pack->r. */

void pack_array(struct pack *pack, size_t n)
{
	(void)msgpack_pack_array(&pack->packer, n);
}

void pack_text(struct pack *pack, const char *text, size_t len)
{
	(void)msgpack_pack_str(&pack->packer, len);
	(void)msgpack_pack_str_body(&pack->packer, text, len);
}

void pack_string(struct pack *pack, const char *text)
{
	pack_text(pack, text, strlen(text));
}

void pack_mended(struct pack *pack, const char *text)
{
	char mended[1024];
	size_t len = strnlen(text, sizeof(mended) - 1);

	memcpy(mended, text, len);
	utf8_mend(mended, len);
	pack_text(pack, mended, len);
}

void pack_bytes(struct pack *pack, const void *data, size_t len)
{
	(void)msgpack_pack_bin(&pack->packer, len);
	(void)msgpack_pack_bin_body(&pack->packer, data, len);
}

void pack_uint(struct pack *pack, uint64_t number)
{
	(void)msgpack_pack_uint64(&pack->packer, number);
}

void pack_bool(struct pack *pack, bool fact)
{
	(void)(fact ? msgpack_pack_true(&pack->packer) : msgpack_pack_false(&pack->packer));
}

void pack_nil(struct pack *pack)
{
	(void)msgpack_pack_nil(&pack->packer);
}

void pack_string_field(struct pack *pack, struct pack_map *map, const char *key, const char *text)
{
	pack_key(pack, map, key);
	pack_string(pack, text);
}

void pack_bytes_field(struct pack *pack, struct pack_map *map, const char *key, const void *data, size_t len)
{
	pack_key(pack, map, key);
	pack_bytes(pack, data, len);
}

void pack_uint_field(struct pack *pack, struct pack_map *map, const char *key, uint64_t number)
{
	pack_key(pack, map, key);
	pack_uint(pack, number);
}

void pack_bool_field(struct pack *pack, struct pack_map *map, const char *key, bool fact)
{
	pack_key(pack, map, key);
	pack_bool(pack, fact);
}
