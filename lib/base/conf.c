#include "base/conf.h"

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"

#define CONF_KEYS_MAX 64 /* of one table */

struct conf_line {
	const char *file;
	unsigned number;
	char key[CONF_KEY_MAX];
	char value[CONF_TEXT_MAX];
};

int conf_pairs_add(struct conf_pairs *pairs, unsigned line, const char *key, const char *value, struct err *err)
{
	struct conf_pair *pair = &pairs->list[pairs->n];

	for (size_t i = 0; i < pairs->n; i++)
		if (strcmp(pairs->list[i].key, key) == 0)
			return err_set(err, ERR_INPUT, 0, "%.63s is given twice; keep one", key);
	if (pairs->n == CONF_PAIRS_MAX)
		return err_set(err, ERR_INPUT, 0, "%.63s is one too many: %d of its kind can be given", key, CONF_PAIRS_MAX);
	if (!*key || strlen(key) >= sizeof(pair->key) || strlen(value) >= sizeof(pair->value))
		return err_set(err, ERR_INPUT, 0, "%.63s: its name must have 1 to %zu characters and its value up to %zu", key,
			       sizeof(pair->key) - 1, sizeof(pair->value) - 1);
	memset(pair, 0, sizeof(*pair));
	memcpy(pair->key, key, strlen(key));
	memcpy(pair->value, value, strlen(value));
	pair->line = line;
	pairs->n++;
	return 0;
}

static int set_uint(const struct conf_key *key, const char *value, void *settings)
{
	uint64_t *field = (uint64_t *)((char *)settings + key->offset);
	uint64_t number = 0;

	if (!*value)
		return -EINVAL;
	for (const char *p = value; *p; p++) {
		if (*p < '0' || *p > '9' || number > (UINT64_MAX - 9) / 10)
			return -EINVAL;
		number = number * 10 + (uint64_t)(*p - '0');
	}
	if (number < key->min || number > key->max)
		return -ERANGE;
	*field = number;
	return 0;
}

static int set_uint_or_auto(const struct conf_key *key, const char *value, void *settings)
{
	if (strcmp(value, "auto") != 0)
		return set_uint(key, value, settings);
	*(uint64_t *)((char *)settings + key->offset) = CONF_AUTO;
	return 0;
}

static int set_bool(const struct conf_key *key, const char *value, void *settings)
{
	bool *field = (bool *)((char *)settings + key->offset);

	if (strcmp(value, "yes") == 0)
		*field = true;
	else if (strcmp(value, "no") == 0)
		*field = false;
	else
		return -EINVAL;
	return 0;
}

static int set_log_level(const struct conf_key *key, const char *value, void *settings)
{
	int level = log_level_parse(value);

	if (level < 0)
		return -EINVAL;
	*(enum log_level *)(void *)((char *)settings + key->offset) = (enum log_level)level;
	return 0;
}

static int set_text(const struct conf_key *key, const char *value, void *settings)
{
	bool may_be_empty = key->preset && !*key->preset;

	if (key->type == CONF_TYPE_IDENT && !(may_be_empty && !*value) && !ident_is_id(value, strlen(value)))
		return -EINVAL;
	if (key->type == CONF_TYPE_PATH && value[0] != '/')
		return -EINVAL;
	memcpy((char *)settings + key->offset, value, CONF_TEXT_MAX);
	return 0;
}

static int refuse(const struct conf_key *key, const struct conf_line *line, struct err *err)
{
	char why[160] = "";

	switch (key->type) {
	case CONF_TYPE_IDENT:
		(void)snprintf(why, sizeof(why), "write 1 to %d letters, digits, '.', '_' or '-', starting with a letter or digit",
			       IDENT_ID_MAX);
		break;
	case CONF_TYPE_PATH:
		(void)snprintf(why, sizeof(why), "write an absolute path");
		break;
	case CONF_TYPE_UINT:
		(void)snprintf(why, sizeof(why), "write a whole number from %llu to %llu", (unsigned long long)key->min,
			       (unsigned long long)key->max);
		break;
	case CONF_TYPE_UINT_OR_AUTO:
		(void)snprintf(why, sizeof(why), "write auto, or a whole number from %llu to %llu", (unsigned long long)key->min,
			       (unsigned long long)key->max);
		break;
	case CONF_TYPE_BOOL:
		(void)snprintf(why, sizeof(why), "write yes or no");
		break;
	case CONF_TYPE_LOG_LEVEL:
		(void)snprintf(why, sizeof(why), "write debug, info, warn or error");
		break;
	case CONF_TYPE_TEXT: /* takes anything */
	case CONF_TYPE_PAIRS: /* add_pair() */
	case CONF_TYPE_COUNT:
		assert(false);
	}
	return err_set(err, ERR_INPUT, 0, "%s:%u: %s: %s", line->file, line->number, key->name, why);
}

static int set_field(const struct conf_key *key, const struct conf_line *line, void *settings, struct err *err)
{
	int r = 0;

	switch (key->type) {
	case CONF_TYPE_TEXT:
	case CONF_TYPE_IDENT:
	case CONF_TYPE_PATH:
		r = set_text(key, line->value, settings);
		break;
	case CONF_TYPE_UINT:
		r = set_uint(key, line->value, settings);
		break;
	case CONF_TYPE_UINT_OR_AUTO:
		r = set_uint_or_auto(key, line->value, settings);
		break;
	case CONF_TYPE_BOOL:
		r = set_bool(key, line->value, settings);
		break;
	case CONF_TYPE_LOG_LEVEL:
		r = set_log_level(key, line->value, settings);
		break;
	case CONF_TYPE_PAIRS: /* add_pair() */
	case CONF_TYPE_COUNT:
		assert(false);
	}
	return r < 0 ? refuse(key, line, err) : 0;
}

static void copy_trimmed(char *to, size_t size, const char *from, size_t len, bool *is_whole)
{
	while (len && (*from == ' ' || *from == '\t')) {
		from++;
		len--;
	}
	while (len && (from[len - 1] == ' ' || from[len - 1] == '\t' || from[len - 1] == '\r'))
		len--;
	*is_whole = len < size && !memchr(from, '\0', len);
	if (len >= size)
		len = size - 1;
	memset(to, 0, size);
	memcpy(to, from, len);
}

static int split_line(struct conf_line *line, const char *text, size_t len, struct err *err)
{
	const char *equals = memchr(text, '=', len);
	bool is_key_whole, is_value_whole;

	if (!equals)
		return err_set(err, ERR_INPUT, 0, "%s:%u: write key = value", line->file, line->number);
	copy_trimmed(line->key, sizeof(line->key), text, (size_t)(equals - text), &is_key_whole);
	copy_trimmed(line->value, sizeof(line->value), equals + 1, len - (size_t)(equals - text) - 1, &is_value_whole);
	if (!is_key_whole || !is_value_whole)
		return err_set(err, ERR_INPUT, 0, "%s:%u: longer than %d bytes, or holds a NUL", line->file,
			       line->number, CONF_TEXT_MAX - 1);
	return 0;
}

static bool is_in_pairs(const struct conf_key *key, const struct conf_line *line)
{
	return key->type == CONF_TYPE_PAIRS && strncmp(key->name, line->key, strlen(key->name)) == 0;
}

static int add_pair(const struct conf_key *key, const struct conf_line *line, void *settings, struct err *err)
{
	struct conf_pairs *pairs = (struct conf_pairs *)(void *)((char *)settings + key->offset);
	int r = conf_pairs_add(pairs, line->number, line->key + strlen(key->name), line->value, err);

	return r < 0 ? err_wrap(err, "%s:%u", line->file, line->number) : 0;
}

static int apply_line(const struct conf_line *line, const struct conf_key *keys, size_t n_keys, bool *is_set,
		      void *settings, struct err *err)
{
	for (size_t i = 0; i < n_keys; i++) {
		if (is_in_pairs(&keys[i], line))
			return add_pair(&keys[i], line, settings, err);
		if (keys[i].type == CONF_TYPE_PAIRS || strcmp(keys[i].name, line->key) != 0)
			continue;
		if (is_set[i])
			return err_set(err, ERR_INPUT, 0, "%s:%u: %s is given twice; keep one", line->file,
				       line->number, line->key);
		is_set[i] = true;
		return set_field(&keys[i], line, settings, err);
	}
	return err_set(err, ERR_INPUT, 0, "%s:%u: unknown key '%s'", line->file, line->number, line->key);
}

static int apply_presets(const char *name, const struct conf_key *keys, size_t n_keys, const bool *is_set,
			 void *settings, struct err *err)
{
	for (size_t i = 0; i < n_keys; i++) {
		struct conf_line line = { .file = "built-in default" };
		int r;

		if (is_set[i] || keys[i].type == CONF_TYPE_PAIRS)
			continue;
		if (!keys[i].preset)
			return err_set(err, ERR_INPUT, 0, "%s: the key '%s' is missing", name, keys[i].name);
		assert(strlen(keys[i].preset) < sizeof(line.value));
		memcpy(line.value, keys[i].preset, strlen(keys[i].preset));
		r = set_field(&keys[i], &line, settings, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int conf_parse(const char *name, const char *text, size_t len, const struct conf_key *keys, size_t n_keys,
	       void *settings, struct err *err)
{
	bool is_set[CONF_KEYS_MAX] = { false };
	struct conf_line line = { .file = name };

	assert(n_keys <= CONF_KEYS_MAX);
	for (size_t i = 0; i < n_keys; i++)
		if (keys[i].type == CONF_TYPE_PAIRS)
			((struct conf_pairs *)(void *)((char *)settings + keys[i].offset))->n = 0;
	while (len) {
		const char *newline = memchr(text, '\n', len);
		size_t line_len = newline ? (size_t)(newline - text) : len;
		size_t blank = 0;
		int r;

		line.number++;
		while (blank < line_len && (text[blank] == ' ' || text[blank] == '\t' || text[blank] == '\r'))
			blank++;
		if (blank < line_len && text[blank] != '#') {
			r = split_line(&line, text, line_len, err);
			if (r >= 0)
				r = apply_line(&line, keys, n_keys, is_set, settings, err);
			if (r < 0)
				return r;
		}
		text += newline ? line_len + 1 : line_len;
		len -= newline ? line_len + 1 : line_len;
	}
	return apply_presets(name, keys, n_keys, is_set, settings, err);
}

int conf_load(const char *path, const struct conf_key *keys, size_t n_keys, void *settings, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t len = 0;

	if (fd < 0)
		return err_set(err, ERR_INPUT, errno, "open configuration '%s'", path);
	text = malloc(CONF_FILE_MAX_BYTES + 1);
	if (!text)
		return err_set(err, ERR_HOST, ENOMEM, "read configuration '%s'", path);
	while (len <= CONF_FILE_MAX_BYTES) {
		ssize_t n = read(fd, text + len, CONF_FILE_MAX_BYTES + 1 - len);

		if (n < 0)
			return err_set(err, ERR_INPUT, errno, "read configuration '%s'", path);
		if (n == 0)
			return conf_parse(path, text, len, keys, n_keys, settings, err);
		len += (size_t)n;
	}
	return err_set(err, ERR_INPUT, 0, "configuration '%s' is larger than %d bytes", path, CONF_FILE_MAX_BYTES);
}
