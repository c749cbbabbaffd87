/* Is this text? Senders' strings reach logs, results and other languages' decoders, which die on bytes that are not
 * UTF-8; so they are checked on the way in and mended on the way out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes the sequence at `p` takes, of `len` that are there (at least 1); 0 when it is not well-formed. */
size_t utf8_extent(const uint8_t *p, size_t len);

/* Well-formed UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing beyond U+10FFFF. */
bool utf8_is_valid(const char *text, size_t len);

/* Was the text cut inside a character? How many bytes (0 to 3) at the end begin one whose rest is missing, and how many
 * at the start may end one whose beginning is missing. */
size_t utf8_cut_at_end(const uint8_t *data, size_t len);
size_t utf8_cut_at_start(const uint8_t *data, size_t len);

/* Bytes that do not belong to a well-formed sequence, and control characters, become '?'. Keeps the length. */
void utf8_mend(char *text, size_t len);
