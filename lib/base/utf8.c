#include "base/utf8.h"

#include <string.h>

#define EXTENT_MAX 4

/* Unicode 15, table 3-7: only the second byte has narrower bounds. */
size_t utf8_extent(const uint8_t *p, size_t len)
{
	size_t extent = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

	if (extent > len)
		return 0;
	for (size_t i = 1; i < extent; i++) {
		if (p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return extent;
}

/* Nearly all text is: it need not be looked at twice. */
static bool is_printable_ascii(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f;
}

bool utf8_is_valid(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;

	while (len) {
		size_t extent = is_printable_ascii(*p) ? 1 : utf8_extent(p, len);

		if (extent == 0)
			return false;
		p += extent;
		len -= extent;
	}
	return true;
}

static bool is_continuation(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Can these bytes, at most 3, be continued to a well-formed sequence? */
static bool is_beginning(const uint8_t *p, size_t len)
{
	static const uint8_t next[] = { 0x80, 0x90, 0xa0 }; /* one of them is allowed after any lead */

	for (size_t i = 0; i < sizeof(next); i++) {
		uint8_t sequence[EXTENT_MAX] = { 0, 0x80, 0x80, 0x80 };

		memcpy(sequence, p, len);
		if (len == 1)
			sequence[1] = next[i];
		if (utf8_extent(sequence, sizeof(sequence)) > len)
			return true;
	}
	return false;
}

size_t utf8_cut_at_end(const uint8_t *data, size_t len)
{
	size_t n = 1;

	while (n < EXTENT_MAX && n <= len && is_continuation(data[len - n]))
		n++;
	return n < EXTENT_MAX && n <= len && is_beginning(data + len - n, n) ? n : 0;
}

size_t utf8_cut_at_start(const uint8_t *data, size_t len)
{
	size_t n = 0;

	while (n < EXTENT_MAX - 1 && n < len && is_continuation(data[n]))
		n++;
	return n;
}

void utf8_mend(char *text, size_t len)
{
	uint8_t *p = (uint8_t *)text;

	while (len) {
		size_t extent = is_printable_ascii(*p) ? 1 : utf8_extent(p, len);

		if (extent == 0 || *p < 0x20 || *p == 0x7f) {
			*p = '?';
			extent = 1;
		}
		p += extent;
		len -= extent;
	}
}
