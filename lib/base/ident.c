#include "base/ident.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/hex.h"
#include "base/own.h"
#include "base/random.h"

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_ident(const char *text, size_t len, size_t max, bool allow_upper)
{
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (is_lower_or_digit(c) || (allow_upper && is_upper(c)))
			continue;
		if (i > 0 && (c == '.' || c == '_' || c == '-'))
			continue;
		return false;
	}
	return true;
}

bool ident_is_id(const char *text, size_t len)
{
	return is_ident(text, len, IDENT_ID_MAX, true);
}

bool ident_is_image(const char *text, size_t len)
{
	return is_ident(text, len, IDENT_IMAGE_MAX, false);
}

/* A call of the kernel for each id would take longer than all the rest of it: 1 KiB at a time. What is left lies in plain memory, so it
 * is for ids and not for keys. A child of fork() finds nothing in it. */
struct pool {
	size_t left;
	uint8_t bytes[1024];
};

/* NULL: there is none that a fork would empty. */
static struct pool *pool(void)
{
	static _Thread_local struct pool *made;
	struct pool *mapped;

	if (made)
		return made;
	mapped = mmap(NULL, sizeof(*mapped), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapped == MAP_FAILED)
		return NULL;
	if (madvise(mapped, sizeof(*mapped), MADV_WIPEONFORK) < 0) {
		(void)munmap(mapped, sizeof(*mapped)); /* what was just mapped */
		return NULL;
	}
	return made = mapped;
}

static void fill_bytes(uint8_t bytes[16])
{
	struct pool *from = pool();

	if (!from) {
		random_fill(bytes, 16);
		return;
	}
	if (from->left < 16) {
		random_fill(from->bytes, sizeof(from->bytes));
		from->left = sizeof(from->bytes);
	}
	from->left -= 16;
	memcpy(bytes, from->bytes + from->left, 16);
	memset(from->bytes + from->left, 0, 16);
}

void ident_uuid(char out[37])
{
	static const uint8_t parts[] = { 4, 2, 2, 2, 6 }; /* bytes between the dashes: RFC 9562 */
	uint8_t bytes[16], *from = bytes;

	fill_bytes(bytes);
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* the version */
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* the variant */
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		hex_write(from, parts[i], out);
		from += parts[i];
		out += HEX_CHARS(parts[i]);
		*out++ = '-';
	}
	out[-1] = '\0';
}

uint64_t ident_hash_seed(void)
{
	uint64_t seed;

	random_fill(&seed, sizeof(seed));
	return seed;
}

/* Multiply and mix (the finish of MurmurHash3). */
uint64_t ident_hash(const char *id, uint64_t seed)
{
	uint64_t hash = seed;

	for (; *id; id++)
		hash = (hash ^ (uint8_t)*id) * UINT64_C(0x9e3779b97f4a7c15);
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	return hash ^ hash >> 33;
}
