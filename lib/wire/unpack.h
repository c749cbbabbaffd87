/* Untrusted msgpack into checked values: prescan, msgpack-c, then typed getters that know where in the message they are.
 *
 * A decoder describes a map by a table of rules; unpack_map() refuses what the table does not allow (a key that is not
 * text, comes twice, is unknown or is missing) and has each value read by its rule. A value carries the chain of its
 * parents, so that every flaw names its field ("files[2].path"). Nothing is copied: text and bytes point into the input,
 * and counts and lengths are checked before a decoder allocates by them.
 *
 * Getters and rules answer 0; -EBADMSG with the flaw filled; or -ENOMEM. */
#pragma once

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/prescan.h"

#define UNPACK_RULES_MAX 64

/* Begins the part of a flaw's message that only a sender of msgpack has use for, and ends the rest. */
#define UNPACK_SENT_AS ", sent as a msgpack "

struct unpack_flaw {
	char field[64]; /* "" when no field is to blame: the bytes are no map, or too many. Printable ASCII, whatever the sender wrote */
	char message[160];
};

struct unpack_value {
	const msgpack_object *object;
	const struct unpack_value *parent; /* NULL for the whole message */
	const char *key;		   /* its name in a map, not NUL-terminated; NULL for an element of an array */
	size_t key_len;
	size_t index; /* in its array or map */
	struct unpack_flaw *flaw;
};

struct unpack_text {
	const char *text; /* borrowed from the input, not NUL-terminated */
	size_t len;
};

struct unpack {
	msgpack_zone zone;
	msgpack_object object;
	struct unpack_value root;
};

/* Prescan and decode; the message must be a map. `data` and `flaw` are borrowed until unpack_close(), which is due only
 * after an answer of 0. The root points into `unpack`, which must not move. */
int unpack_open(struct unpack *unpack, const uint8_t *data, size_t len, const struct prescan_limits *limits,
		struct unpack_flaw *flaw);
void unpack_close(struct unpack *unpack);

struct unpack_rule;

/* Reads `value` into the struct `into`. */
typedef int (*unpack_read_fn)(const struct unpack_value *value, const struct unpack_rule *rule, void *into);

struct unpack_rule {
	const char *key;
	unpack_read_fn read;
	size_t offset;	   /* of the field in `into` */
	uint64_t min, max; /* of a number, or bytes of a text */
	bool is_required;
};

enum unpack_unknown { UNPACK_UNKNOWN_REFUSED, UNPACK_UNKNOWN_SKIPPED };

/* The value must be a map that keeps the rules. Values are read in the message's order. */
int unpack_map(const struct unpack_value *value, const struct unpack_rule *rules, size_t n_rules,
	       enum unpack_unknown unknown, void *into);

/* Ready readers for rules: the field at `offset` is a uint32_t, a uint64_t, a bool, a struct unpack_text (of min..max
 * bytes), or a char array of max + 1 bytes that becomes NUL-terminated. */
int unpack_rule_u32(const struct unpack_value *value, const struct unpack_rule *rule, void *into);
int unpack_rule_u64(const struct unpack_value *value, const struct unpack_rule *rule, void *into);
int unpack_rule_bool(const struct unpack_value *value, const struct unpack_rule *rule, void *into);
int unpack_rule_text(const struct unpack_value *value, const struct unpack_rule *rule, void *into);
/* The number must be rule->max; nothing is stored. */
int unpack_rule_version(const struct unpack_value *value, const struct unpack_rule *rule, void *into);
int unpack_rule_chars(const struct unpack_value *value, const struct unpack_rule *rule, void *into);

/* Any msgpack integer encoding; floats are refused. */
int unpack_uint(const struct unpack_value *value, uint64_t min, uint64_t max, uint64_t *ret);
int unpack_bool(const struct unpack_value *value, bool *ret);
/* msgpack str of min..max bytes, valid UTF-8, no NUL. */
int unpack_text(const struct unpack_value *value, size_t min, size_t max, struct unpack_text *ret);
/* msgpack bin, or str (its bytes, whatever they are), of at most max bytes. */
int unpack_bytes(const struct unpack_value *value, size_t max, const uint8_t **ret, size_t *ret_len);
bool unpack_is_nil(const struct unpack_value *value);

/* An array of min..max elements; then its elements. */
int unpack_array(const struct unpack_value *value, size_t min, size_t max, size_t *ret_n);
struct unpack_value unpack_item(const struct unpack_value *array, size_t i);

/* A map of at most max pairs whose keys are the sender's choice: valid text, none twice; then its pairs. */
int unpack_pairs(const struct unpack_value *value, size_t max, size_t *ret_n);
struct unpack_value unpack_pair(const struct unpack_value *map, size_t i);

/* The value of `key` in the map, false when there is none: for what decides how the rest is read ("v", "t"). */
bool unpack_find(const struct unpack_value *map, const char *key, struct unpack_value *ret);

/* Fill the flaw with the value's path and a sentence. Answers -EBADMSG. */
int unpack_fail(const struct unpack_value *value, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole message by its rules: open, map, close. -EBADMSG with `why` filled. */
int unpack_message(const uint8_t *data, size_t len, const struct prescan_limits *limits,
		   const struct unpack_rule *rules, size_t n_rules, enum unpack_unknown unknown, void *into,
		   char why[160]);

/* "field: message", or the message alone. */
void unpack_flaw_text(const struct unpack_flaw *flaw, char out[160]);
