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

/* The next four characters that are no line break. Answers how many there were, at most `n`. */
static size_t next_group(const char **text, const char *end, char group[4])
{
	size_t n = 0;

	for (; *text < end && n < 4; (*text)++)
		if (**text != '\n' && **text != '\r')
			group[n++] = **text;
	return n;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	const char *end = text + len;
	size_t n_bytes = 3; /* of the last group: only the last one may have fewer */
	char group[4];
	size_t n;
	int r = 0;

	while (r == 0 && (n = next_group(&text, end, group)) > 0) {
		if (n < 4 || n_bytes < 3)
			return -EBADMSG;
		n_bytes = group[3] != '=' ? 3 : group[2] != '=' ? 2 : 1;
		r = decode_group(group, n_bytes, out);
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
