#include "base/ident.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

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

void ident_uuid(char out[37])
{
	uint8_t b[16];
	ssize_t n;

	do
		n = getrandom(b, sizeof(b), 0);
	while (n < 0 && errno == EINTR);
	assert(n == (ssize_t)sizeof(b)); /* getrandom(2): up to 256 bytes are never short */
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	(void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		       b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

uint64_t ident_hash_seed(void)
{
	uint64_t seed;
	ssize_t n = getrandom(&seed, sizeof(seed), 0);

	assert(n == (ssize_t)sizeof(seed)); /* getrandom(2): up to 256 bytes are never short */
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
