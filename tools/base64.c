#include "tools/base64.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/own.h"

#define CHARS(n_bytes) (((n_bytes) + 2) / 3 * 4)

int base64_encode(const uint8_t *data, size_t len, struct buf *out)
{
	int r = len > INT_MAX / 2 ? -EOVERFLOW : buf_reserve(out, CHARS(len) + 1); /* it writes a NUL, too */

	if (r == 0)
		out->len += (size_t)EVP_EncodeBlock(out->data + out->len, data, (int)len);
	return r;
}

static int take_line_breaks_out(const char *text, size_t len, struct buf *out)
{
	int r = buf_reserve(out, len);

	for (size_t i = 0; i < len && r == 0; i++)
		if (text[i] != '\n' && text[i] != '\r')
			out->data[out->len++] = (uint8_t)text[i];
	return r;
}

/* libcrypto also takes blanks, '=' in the middle and bits beyond the last byte. Here bytes have one spelling only: what
 * encoding them gives. */
static int check_spelling(const struct buf *text, const uint8_t *bytes, size_t len)
{
	cleanup_(buf_free) struct buf again = { 0 };
	int r = base64_encode(bytes, len, &again);

	if (r == 0 && (again.len != text->len || memcmp(again.data, text->data, text->len) != 0))
		r = -EBADMSG;
	return r;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	cleanup_(buf_free) struct buf chars = { 0 };
	int n, r = len > INT_MAX ? -EOVERFLOW : take_line_breaks_out(text, len, &chars);

	if (r < 0 || chars.len == 0)
		return r;
	r = chars.len % 4 ? -EBADMSG : buf_reserve(out, chars.len / 4 * 3);
	if (r < 0)
		return r;
	n = EVP_DecodeBlock(out->data + out->len, chars.data, (int)chars.len);
	if (n < 0)
		return -EBADMSG;
	n -= (chars.data[chars.len - 1] == '=') + (chars.data[chars.len - 2] == '='); /* it decodes padding as zero bits */
	r = check_spelling(&chars, out->data + out->len, (size_t)n);
	if (r == 0)
		out->len += (size_t)n;
	return r;
}
