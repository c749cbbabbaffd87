/* Configuration files: `key = value` lines, `#` comments. One table per daemon says which keys exist, what they hold
 * and where the value goes; an unknown key, a key given twice or a value out of range is refused with its line. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CONF_TEXT_MAX 256              /* bytes of one text value with its NUL */
#define CONF_KEY_MAX  64               /* bytes of one key with its NUL */
#define CONF_PAIRS_MAX 32              /* keys behind one prefix */
#define CONF_AUTO     0                /* of a CONF_TYPE_UINT_OR_AUTO */
#define CONF_FILE_MAX_BYTES (64 * 1024) /* a configuration is a page, not a data set */

enum conf_type {
	CONF_TYPE_TEXT, /* char[CONF_TEXT_MAX] */
	CONF_TYPE_IDENT, /* the same, an id as base/ident.h has it; "" only where that is the preset */
	CONF_TYPE_PATH, /* the same, an absolute path */
	CONF_TYPE_UINT, /* uint64_t, decimal, min..max */
	CONF_TYPE_UINT_OR_AUTO, /* the same, or "auto": CONF_AUTO, for whoever knows what that comes to here; min is at least 1 */
	CONF_TYPE_BOOL, /* bool: yes|no */
	CONF_TYPE_LOG_LEVEL, /* enum log_level, by its name */
	CONF_TYPE_PAIRS, /* struct conf_pairs: every key that begins with the name ("kafka."); there may be none */
	CONF_TYPE_COUNT
};

/* The keys of one prefix, in the order of the file. What they mean is known elsewhere, in librdkafka for example. */
struct conf_pairs {
	size_t n;
	struct conf_pair {
		unsigned line; /* of the file; 0: not from a file */
		char key[CONF_KEY_MAX]; /* without the prefix */
		char value[CONF_TEXT_MAX];
	} list[CONF_PAIRS_MAX];
};

/* ERR_INPUT: too many, too long, or there already; the message names the key. */
int conf_pairs_add(struct conf_pairs *pairs, unsigned line, const char *key, const char *value, struct err *err);

struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset; /* of the field in the settings struct */
	uint64_t min, max;
	const char *preset; /* the default, in the file's own syntax; NULL when the key must be given */
};

/* Rows of a table for settings of the type `of`. */
#define CONF_ROW(of, name, type, field, preset) { name, type, offsetof(of, field), 0, 0, preset }
#define CONF_UINT_ROW(of, name, field, min, max, preset) { name, CONF_TYPE_UINT, offsetof(of, field), min, max, preset }
#define CONF_AUTO_ROW(of, name, field, min, max) { name, CONF_TYPE_UINT_OR_AUTO, offsetof(of, field), min, max, "auto" }

/* Parse `len` bytes of `text` (called `name` in errors) into `settings`; every key of the table is set afterwards.
 * ERR_INPUT names the file, the line and the key. */
int conf_parse(const char *name, const char *text, size_t len, const struct conf_key *keys, size_t n_keys,
	       void *settings, struct err *err);

/* The same for a file. */
int conf_load(const char *path, const struct conf_key *keys, size_t n_keys, void *settings, struct err *err);
