/* Structs into msgpack, appended to a struct buf. A failure sticks, so that an encoder is a plain list of calls and checks once, in
 * pack_finish(). msgpack-c's packer is not used for it: it calls back for each head and each body of a result's hundred values, and
 * took more than twice as long (2.0 us instead of 0.8, of the 20 that a task takes a worker). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

struct pack {
	struct buf *out; /* borrowed */
	size_t start;
	int r; /* the first failure */
};

/* A map under way: its pairs are counted as they come, and its head is filled in at the end. */
struct pack_map {
	size_t at; /* of the head in the buffer */
	unsigned n;
};

/* Appends to `out`. */
void pack_init(struct pack *pack, struct buf *out);

/* 0, -ENOMEM, or -E2BIG beyond the buffer's ceiling; after a failure `out` is as it was before pack_init(). */
int pack_finish(struct pack *pack);

struct pack_map pack_map_begin(struct pack *pack);
void pack_map_end(struct pack *pack, const struct pack_map *map); /* at most 65535 pairs */

void pack_array(struct pack *pack, size_t n); /* n values follow */
void pack_text(struct pack *pack, const char *text, size_t len);
/* Text of unknown origin (an error message, a cut one): what is not printable UTF-8 is sent as '?'. At most 1023 bytes. */
void pack_mended(struct pack *pack, const char *text);
void pack_bytes(struct pack *pack, const void *data, size_t len);
void pack_uint(struct pack *pack, uint64_t number);
void pack_int(struct pack *pack, int64_t number);
void pack_double(struct pack *pack, double number);
void pack_bool(struct pack *pack, bool fact);
void pack_nil(struct pack *pack);

/* The rest is inline so that the length of a key that is written down here is known when it is compiled. */
static inline void pack_string(struct pack *pack, const char *text)
{
	pack_text(pack, text, strlen(text));
}

static inline void pack_key(struct pack *pack, struct pack_map *map, const char *key)
{
	map->n++;
	pack_string(pack, key);
}

/* A key with its value, the most frequent line of an encoder. */
static inline void pack_string_field(struct pack *pack, struct pack_map *map, const char *key, const char *text)
{
	pack_key(pack, map, key);
	pack_string(pack, text);
}

static inline void pack_bytes_field(struct pack *pack, struct pack_map *map, const char *key, const void *data, size_t len)
{
	pack_key(pack, map, key);
	pack_bytes(pack, data, len);
}

static inline void pack_uint_field(struct pack *pack, struct pack_map *map, const char *key, uint64_t number)
{
	pack_key(pack, map, key);
	pack_uint(pack, number);
}

static inline void pack_bool_field(struct pack *pack, struct pack_map *map, const char *key, bool fact)
{
	pack_key(pack, map, key);
	pack_bool(pack, fact);
}
