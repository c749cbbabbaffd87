#include "tools/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Four characters with `n` bytes behind them. The bits beyond them must be 0, so that bytes have one spelling. */
static int decode_group(const char *text, size_t n, struct buf *out)
{
	uint32_t bits = 0;
	uint8_t bytes[3];

	for (size_t i = 0; i < 4; i++) {
		int value = i <= n ? value_of(text[i]) : 0;

		if (value < 0)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)value;
	}
	for (size_t i = 0; i < 3; i++)
		bytes[i] = (uint8_t)(bits >> (16 - 8 * i));
	if (bits & ((1u << 8 * (3 - n)) - 1))
		return -EBADMSG;
	return buf_append(out, bytes, n);
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	int r = 0;

	if (len % 4)
		return -EBADMSG;
	for (size_t i = 0; i < len && r == 0; i += 4) {
		size_t n = i + 4 < len || text[i + 3] != '=' ? 3 : text[i + 2] != '=' ? 2 : 1;

		r = decode_group(text + i, n, out);
	}
	return r;
}

int base64_encode(const uint8_t *data, size_t len, struct buf *out)
{
	int r = buf_reserve(out, (len + 2) / 3 * 4);

	for (size_t i = 0; i < len && r == 0; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits =
			(uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0);
		char group[4];

		for (size_t k = 0; k < 4; k++)
			group[k] = k <= n ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
		r = buf_append(out, group, sizeof(group));
	}
	return r;
}
