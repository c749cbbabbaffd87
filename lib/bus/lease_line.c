#include "bus/lease_line.h"

#include <assert.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_fields.h"
#include "bus/lease_keys.h"

#define LINE_MAX_BYTES 1024 /* of fifteen fields, the longest a topic of 249 */
#define SHOWN_BYTES    100  /* of a line that is none, in the message about it */
#define NONE	       "-"

#define FIELD_NAME(name, text) [LEASE_FIELD_##name] = (text),
static const char *const field_names[] = { LEASE_FIELDS(FIELD_NAME) };
static_assert(ARRAY_SIZE(field_names) == LEASE_FIELD_COUNT, "a name for every lease_field");

static const char *const state_names[] = { "running", "reaping", "orphan", "ended", "told" };
static_assert(ARRAY_SIZE(state_names) == REAP_STATE_COUNT, "a name for every reap_state");

const char *reap_state_name(enum reap_state state)
{
	return (unsigned)state < REAP_STATE_COUNT ? state_names[state] : "unknown";
}

struct line_reader {
	char text[LINE_MAX_BYTES];
	const char *words[LEASE_FIELD_COUNT]; /* NULL behind the line's end */
	const char *bad; /* the first field that is wrong, "" for one too many; NULL: none */
};

static void refuse(struct line_reader *reader, enum lease_field field)
{
	if (!reader->bad)
		reader->bad = field == LEASE_FIELD_COUNT ? "" : field_names[field];
}

/* What stands for a field that is not there, where it may be missing; NULL: it may not. */
static const char *read_word(struct line_reader *reader, enum lease_field field, const char *absent)
{
	const char *word = reader->words[field] ? reader->words[field] : absent;

	if (word && *word)
		return word;
	refuse(reader, field);
	return "";
}

/* What Kafka allows in a topic's name. */
static bool is_topic(const char *word)
{
	return word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

static bool is_name(const char *word)
{
	return ident_is_id(word, 1) && is_topic(word);
}

static bool is_name_or_none(const char *word)
{
	return strcmp(word, NONE) == 0 || is_name(word);
}

static bool is_content(const char *word)
{
	return strlen(word) == LEASE_CONTENT_MAX && word[strspn(word, "0123456789abcdef")] == '\0';
}

static void copy_text(struct line_reader *reader, enum lease_field field, const char *word, char *out, size_t size,
		      bool (*is_fine)(const char *word))
{
	if (strlen(word) >= size || !is_fine(word)) {
		refuse(reader, field);
		word = "";
	}
	memcpy(out, word, strlen(word) + 1);
}

static void read_text(struct line_reader *reader, enum lease_field field, char *out, size_t size, bool (*is_fine)(const char *word))
{
	copy_text(reader, field, read_word(reader, field, NULL), out, size, is_fine);
}

static void read_optional_name(struct line_reader *reader, enum lease_field field, char *out, size_t size)
{
	copy_text(reader, field, read_word(reader, field, NONE), out, size, is_name_or_none);
}

static uint64_t read_number(struct line_reader *reader, enum lease_field field, uint64_t min, uint64_t max)
{
	const char *word = read_word(reader, field, NULL);
	bool is_padded = word[0] == '0' && word[1];
	uint64_t number = 0;

	for (; *word; word++) {
		if (*word < '0' || *word > '9' || number > max / 10) {
			refuse(reader, field);
			return 0;
		}
		number = number * 10 + (uint64_t)(*word - '0');
	}
	if (is_padded || number < min || number > max)
		refuse(reader, field);
	return number;
}

static enum reap_state read_state(struct line_reader *reader)
{
	const char *word = read_word(reader, LEASE_FIELD_STATE, NULL);

	for (int i = 0; i < REAP_STATE_COUNT; i++)
		if (strcmp(word, state_names[i]) == 0)
			return (enum reap_state)i;
	refuse(reader, LEASE_FIELD_STATE);
	return REAP_STATE_COUNT;
}

static void read_owner(struct line_reader *reader, struct reap_lease *ret)
{
	read_text(reader, LEASE_FIELD_OWNER, ret->owner, sizeof(ret->owner), is_name_or_none);
	if ((strcmp(ret->owner, NONE) == 0) != (ret->state == REAP_STATE_ORPHAN))
		refuse(reader, LEASE_FIELD_OWNER);
}

static bool read_key(struct line_reader *reader)
{
	const char *word = read_word(reader, LEASE_FIELD_KEY, NONE);
	bool is_destroyed = strcmp(word, "destroyed") == 0;

	if (!is_destroyed && strcmp(word, NONE) != 0)
		refuse(reader, LEASE_FIELD_KEY);
	return is_destroyed;
}

/* In the order of the fields: the first that is wrong is named. */
static void read_fields(struct line_reader *reader, struct reap_lease *ret)
{
	ret->state = read_state(reader);
	read_owner(reader, ret);
	ret->token = read_number(reader, LEASE_FIELD_TOKEN, 1, LEASE_NUMBER_MAX);
	ret->attempt = (uint32_t)read_number(reader, LEASE_FIELD_ATTEMPT, 1, LEASE_ATTEMPT_MAX);
	read_text(reader, LEASE_FIELD_HOST, ret->host, sizeof(ret->host), is_name);
	(void)read_number(reader, LEASE_FIELD_SLOT, 0, UINT32_MAX); /* for people who look */
	ret->expires_ms = read_number(reader, LEASE_FIELD_EXPIRES_MS, 0, LEASE_NUMBER_MAX);
	read_text(reader, LEASE_FIELD_TOPIC, ret->topic, sizeof(ret->topic), is_topic);
	ret->partition = (int32_t)read_number(reader, LEASE_FIELD_PARTITION, 0, INT32_MAX);
	ret->offset = (int64_t)read_number(reader, LEASE_FIELD_OFFSET, 0, INT64_MAX - 1);
	read_optional_name(reader, LEASE_FIELD_VICTIM, ret->victim, sizeof(ret->victim));
	ret->is_key_destroyed = read_key(reader);
	if (reader->words[LEASE_FIELD_CONTENT] && !is_content(reader->words[LEASE_FIELD_CONTENT])) /* for the claims of other records */
		refuse(reader, LEASE_FIELD_CONTENT);
	read_optional_name(reader, LEASE_FIELD_VM_ID, ret->vm_id, sizeof(ret->vm_id));
	read_optional_name(reader, LEASE_FIELD_TENANT, ret->tenant, sizeof(ret->tenant));
}

/* Is that all? */
static bool split(struct line_reader *reader)
{
	char *rest = reader->text;

	for (size_t i = 0; i < LEASE_FIELD_COUNT && rest; i++)
		reader->words[i] = strsep(&rest, " ");
	return !rest;
}

/* Anybody may have written it, and the message goes to logs and terminals. */
static int bad_line(const char *field, const char *line, size_t len, struct err *err)
{
	char shown[SHOWN_BYTES + 1] = "";

	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++)
		shown[i] = line[i] >= 0x20 && line[i] < 0x7f ? line[i] : '?';
	return err_set(err, ERR_HOST, EBADMSG, "%s%sa lease in Redis reads '%s', which is none of ours: delete its key",
		       field, *field ? ": " : "", shown);
}

int lease_line_parse(const char *line, size_t len, struct reap_lease *ret, struct err *err)
{
	struct line_reader reader = { 0 };
	bool is_all;

	if (len >= sizeof(reader.text) || memchr(line, '\0', len))
		return bad_line("", line, len, err);
	memcpy(reader.text, line, len);
	is_all = split(&reader);
	read_fields(&reader, ret);
	if (!is_all)
		refuse(&reader, LEASE_FIELD_COUNT);
	return reader.bad ? bad_line(reader.bad, line, len, err) : 0;
}
