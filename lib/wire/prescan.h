/* A look over untrusted msgpack before a decoder allocates anything.
 *
 * msgpack-c reserves memory by the *claimed* number of elements: five bytes make it ask for 8 GiB. What passes here is
 * one whole value, every claim in it is backed by bytes that are there, and its size, depth and number of values are
 * bounded; so what a decoder allocates is bounded by the limits. Types, keys and text are wire/unpack.h's to check. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PRESCAN_DEPTH_MAX 16 /* ceiling of prescan_limits.max_depth: below msgpack-c's own stack of 32 */

struct prescan_limits {
	size_t max_bytes;
	unsigned max_depth; /* arrays and maps inside each other, empty ones too; at most PRESCAN_DEPTH_MAX */
	unsigned max_nodes; /* values, keys too */
};

enum prescan_verdict {
	PRESCAN_VERDICT_OK,
	PRESCAN_VERDICT_TOO_LARGE,
	PRESCAN_VERDICT_EMPTY,	   /* no byte at all */
	PRESCAN_VERDICT_TRUNCATED, /* ends early, or claims more than there is */
	PRESCAN_VERDICT_TOO_DEEP,
	PRESCAN_VERDICT_TOO_MANY,
	PRESCAN_VERDICT_NOT_MSGPACK,
	PRESCAN_VERDICT_TRAILING, /* bytes after the value */
	PRESCAN_VERDICT_COUNT
};

/* The field with the flaw: the key of the outermost map whose value was being read. As the sender wrote it. */
struct prescan_field {
	const char *key; /* into `data`, not NUL-terminated; NULL: the flaw is in no field */
	size_t key_len;
};

enum prescan_verdict prescan(const uint8_t *data, size_t len, const struct prescan_limits *limits,
			     struct prescan_field *ret_field);

/* A sentence for the sender. */
const char *prescan_verdict_text(enum prescan_verdict verdict);
