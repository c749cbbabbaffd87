#include "bus/reap_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_keys.h"

#define LINE_MAX_BYTES 1024 /* thirteen fields, the longest a topic of 249 */
#define SHOWN_BYTES    100  /* of a line that is none, in the message about it */
#define SCAN_HEAD      3    /* now, number of leases, of those due */
#define SCAN_FIELDS    3    /* id, score, line */
#define HEAL_FIELDS    3    /* number, line, when an orphan is to be lost */

static const char *const state_names[] = { "running", "reaping", "orphan", "ended", "told" };
static_assert(ARRAY_SIZE(state_names) == REAP_STATE_COUNT, "a name for every reap_state");

const char *reap_state_name(enum reap_state state)
{
	return (unsigned)state < REAP_STATE_COUNT ? state_names[state] : "unknown";
}

struct line_reader {
	char text[LINE_MAX_BYTES];
	char *rest;
	const char *bad; /* the first field that is wrong, "" for one too many; NULL: none */
};

static void refuse(struct line_reader *reader, const char *field)
{
	if (!reader->bad)
		reader->bad = field;
}

static const char *next_word(struct line_reader *reader, const char *field)
{
	char *word = strsep(&reader->rest, " ");

	if (!word || !*word) {
		refuse(reader, field);
		return "";
	}
	return word;
}

/* What Kafka allows in a topic's name; "-", for none, is such a word, too. */
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
	return strcmp(word, "-") == 0 || is_name(word);
}

static void next_text(struct line_reader *reader, const char *field, char *out, size_t size,
		      bool (*is_fine)(const char *word))
{
	const char *word = next_word(reader, field);

	if (strlen(word) >= size || !is_fine(word)) {
		refuse(reader, field);
		word = "";
	}
	memcpy(out, word, strlen(word) + 1);
}

static uint64_t next_number(struct line_reader *reader, const char *field, uint64_t min, uint64_t max)
{
	const char *word = next_word(reader, field);
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

static enum reap_state next_state(struct line_reader *reader)
{
	const char *word = next_word(reader, "state");

	for (int i = 0; i < REAP_STATE_COUNT; i++)
		if (strcmp(word, state_names[i]) == 0)
			return (enum reap_state)i;
	refuse(reader, "state");
	return REAP_STATE_COUNT;
}

static void next_owner(struct line_reader *reader, struct reap_lease *ret)
{
	next_text(reader, "owner", ret->owner, sizeof(ret->owner), is_name_or_none);
	if ((strcmp(ret->owner, "-") == 0) != (ret->state == REAP_STATE_ORPHAN))
		refuse(reader, "owner");
}

static bool next_key(struct line_reader *reader)
{
	const char *word = next_word(reader, "key");
	bool is_destroyed = strcmp(word, "destroyed") == 0;

	if (!is_destroyed && strcmp(word, "-") != 0)
		refuse(reader, "key");
	return is_destroyed;
}

static bool is_content(const char *word)
{
	return strlen(word) == LEASE_CONTENT_MAX && word[strspn(word, "0123456789abcdef")] == '\0';
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

int reap_line_parse(const char *line, size_t len, struct reap_lease *ret, struct err *err)
{
	struct line_reader reader = { 0 };

	if (len >= sizeof(reader.text) || memchr(line, '\0', len))
		return bad_line("", line, len, err);
	memcpy(reader.text, line, len);
	reader.rest = reader.text;
	ret->state = next_state(&reader);
	next_owner(&reader, ret);
	ret->token = next_number(&reader, "token", 1, LEASE_NUMBER_MAX);
	ret->attempt = (uint32_t)next_number(&reader, "attempt", 0, LEASE_ATTEMPT_MAX);
	next_text(&reader, "host", ret->host, sizeof(ret->host), is_name);
	(void)next_number(&reader, "slot", 0, UINT32_MAX); /* for people who look */
	ret->expires_ms = next_number(&reader, "expires_ms", 0, LEASE_NUMBER_MAX);
	next_text(&reader, "topic", ret->topic, sizeof(ret->topic), is_topic);
	ret->partition = (int32_t)next_number(&reader, "partition", 0, INT32_MAX);
	ret->offset = (int64_t)next_number(&reader, "offset", 0, INT64_MAX - 1);
	memcpy(ret->victim, "-", 2);
	if (reader.rest)
		next_text(&reader, "victim", ret->victim, sizeof(ret->victim), is_name_or_none);
	ret->is_key_destroyed = reader.rest && next_key(&reader);
	if (reader.rest && !is_content(next_word(&reader, "content"))) /* for the claims of other records */
		refuse(&reader, "content");
	if (reader.rest)
		refuse(&reader, "");
	return reader.bad ? bad_line(reader.bad, line, len, err) : 0;
}

static int bad_reply(const redisReply *reply, const char *expected, struct err *err)
{
	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a reaper's script ('%.120s'): check its log and memory", reply->str);
	return err_set(err, ERR_HOST, EBADMSG, "Redis answered a reaper's script with type %d instead of %s",
		       reply->type, expected);
}

static bool is_text(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_STRING;
}

static bool is_number(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_INTEGER;
}

static bool read_row(redisReply *const *row, struct reap_lease *ret)
{
	if (!ident_is_id(row[0]->str, row[0]->len) || row[1]->integer < 0 ||
	    reap_line_parse(row[2]->str, row[2]->len, ret, NULL) < 0)
		return false;
	memcpy(ret->id, row[0]->str, row[0]->len + 1);
	ret->due_ms = (uint64_t)row[1]->integer;
	ret->lost_ms = 0;
	return true;
}

int reap_reply_scan(const redisReply *reply, struct reap_scan *ret, struct reap_lease *leases, size_t *ret_bad,
		    struct err *err)
{
	*ret_bad = 0;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < SCAN_HEAD ||
	    (reply->elements - SCAN_HEAD) % SCAN_FIELDS || reply->elements > SCAN_HEAD + SCAN_FIELDS * REAP_SCAN_MAX)
		return bad_reply(reply, "a list of leases", err);
	for (size_t i = 0; i < SCAN_HEAD; i++)
		if (!is_number(reply->element[i]) || reply->element[i]->integer < 0)
			return bad_reply(reply, "the time and two counts", err);
	*ret = (struct reap_scan){ .now_ms = (uint64_t)reply->element[0]->integer,
				   .n_all = (uint64_t)reply->element[1]->integer,
				   .n_due = (uint64_t)reply->element[2]->integer,
				   .leases = leases };
	for (size_t i = SCAN_HEAD; i < reply->elements; i += SCAN_FIELDS) {
		redisReply *const *row = &reply->element[i];

		if (!is_text(row[0]) || !is_number(row[1]) || !is_text(row[2]))
			return bad_reply(reply, "a list of id, time and lease", err);
		if (row[2]->len == 0)
			continue; /* a deadline without a lease: the script removed it */
		if (read_row(row, &leases[ret->n]))
			ret->n++;
		else
			(*ret_bad)++;
	}
	return 0;
}

int reap_reply_numbers(const redisReply *reply, size_t n, int64_t *numbers, struct err *err)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
		return bad_reply(reply, "a list of numbers", err);
	for (size_t i = 0; i < n; i++) {
		if (!is_number(reply->element[i]))
			return bad_reply(reply, "a list of numbers", err);
		numbers[i] = reply->element[i]->integer;
	}
	return 0;
}

int reap_reply_heal(const redisReply *reply, size_t n, int64_t *numbers, struct reap_lease *leases, struct err *err)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != HEAL_FIELDS * n)
		return bad_reply(reply, "a list of number, lease and time", err);
	for (size_t i = 0; i < n; i++) {
		redisReply *const *row = &reply->element[HEAL_FIELDS * i];

		if (!is_number(row[0]) || !is_text(row[1]) || !is_number(row[2]) || row[2]->integer < 0)
			return bad_reply(reply, "a list of number, lease and time", err);
		numbers[i] = row[0]->integer;
		if (numbers[i] > 1 && reap_line_parse(row[1]->str, row[1]->len, &leases[i], err) < 0)
			return -EBADMSG;
		leases[i].lost_ms = (uint64_t)row[2]->integer;
	}
	return 0;
}

/* The value of "name:" at the beginning of a line, or NULL. */
static const char *info_value(const char *info, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = info; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

int reap_reply_server(const redisReply *reply, struct reap_server *ret, struct err *err)
{
	const char *uptime = is_text(reply) ? info_value(reply->str, "uptime_in_seconds") : NULL;
	const char *policy = is_text(reply) ? info_value(reply->str, "maxmemory_policy") : NULL;

	if (!uptime || *uptime < '0' || *uptime > '9')
		return bad_reply(reply, "INFO with uptime_in_seconds", err);
	ret->uptime_ms = strtoull(uptime, NULL, 10) * 1000;
	ret->is_evicting = policy && strncmp(policy, "noeviction", 10) != 0;
	return 0;
}
