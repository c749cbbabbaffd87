#include "bus/reap_reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_line.h"

#define SCAN_HEAD      3    /* now, number of leases, of those due */
#define SCAN_FIELDS    3    /* id, score, line */
#define FIND_FIELDS    2    /* word, id */

static int bad_reply(const redisReply *reply, const char *expected, struct err *err)
{
	if (reply->type == REDIS_REPLY_ERROR)
		return err_set(err, ERR_HOST, EBADMSG,
			       "Redis refused a reaper's call ('%.120s'): check its log and memory", reply->str);
	return err_set(err, ERR_HOST, EBADMSG, "Redis answered a reaper's call with type %d instead of %s",
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
	    lease_line_parse(row[2]->str, row[2]->len, ret, NULL) < 0)
		return false;
	memcpy(ret->id, row[0]->str, row[0]->len + 1);
	ret->due_ms = (uint64_t)row[1]->integer;
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

static bool read_cursor(const redisReply *reply, char cursor[REAP_CURSOR_MAX + 1])
{
	if (!is_text(reply) || reply->len == 0 || reply->len > REAP_CURSOR_MAX || strspn(reply->str, "0123456789") != reply->len)
		return false;
	memcpy(cursor, reply->str, reply->len + 1);
	return true;
}

static const char *const holds[] = { [REAP_HOLD_FREE] = "free", [REAP_HOLD_OVER] = "over", [REAP_HOLD_HELD] = "held" };
static_assert(ARRAY_SIZE(holds) == REAP_HOLD_COUNT, "a word for every reap_hold");

static bool read_found(redisReply *const *row, struct reap_found *ret)
{
	*ret = (struct reap_found){ 0 };
	if (!is_text(row[0]) || !is_text(row[1]))
		return false;
	while (ret->hold < REAP_HOLD_COUNT && strcmp(row[0]->str, holds[ret->hold]) != 0)
		ret->hold++;
	if (ret->hold == REAP_HOLD_COUNT)
		return false;
	if (ident_is_id(row[1]->str, row[1]->len)) /* of a key that an operator made up it is none */
		memcpy(ret->id, row[1]->str, row[1]->len + 1);
	return true;
}

int reap_reply_find(const redisReply *reply, size_t n, char cursor[REAP_CURSOR_MAX + 1], struct reap_found *found, struct err *err)
{
	bool is_good = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 + FIND_FIELDS * n && read_cursor(reply->element[0], cursor);

	for (size_t i = 0; i < n && is_good; i++)
		is_good = read_found(&reply->element[1 + FIND_FIELDS * i], &found[i]);
	return is_good ? 0 : bad_reply(reply, "a cursor and a list of word and id", err);
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
