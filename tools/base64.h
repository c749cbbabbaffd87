/* Base64 as RFC 4648 section 4 has it: how JSON carries bytes. libcrypto's, and stricter. */
#pragma once

#include <stddef.h>

#include "base/buf.h"

/* Appends the decoded bytes; line breaks may be anywhere. 0, -EBADMSG for what is not canonical base64 with its padding, -EOVERFLOW, -ENOMEM. */
int base64_decode(const char *text, size_t len, struct buf *out);

/* Appends the text, no NUL. 0, -EOVERFLOW or -ENOMEM. */
int base64_encode(const uint8_t *data, size_t len, struct buf *out);
