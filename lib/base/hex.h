/* Bytes as hexadecimal text, in lower case: digests, UUIDs, a passphrase of random bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEX_CHARS(n_bytes) (2 * (n_bytes))

/* HEX_CHARS(n) characters, without a terminator. Leaves no copy of the bytes anywhere else. */
void hex_write(const uint8_t *bytes, size_t n, char *out);

/* `n` bytes of HEX_CHARS(n) characters; false when one of these is no digit, or upper case: bytes have one spelling. */
bool hex_read(const char *text, size_t n, uint8_t *out);
