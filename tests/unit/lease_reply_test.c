/* Bytes as a server sends them, through hiredis's own reader. */
#include "tests/unit/unit.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "bus/lease_line.h"
#include "bus/lease_reply.h"
#include "bus/reap_reply.h"

static redisReply *read_reply(const char *bytes)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	assert_int_equal(redisReaderFeed(reader, bytes, strlen(bytes)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	redisReaderFree(reader);
	return reply;
}

static const char *const topics[] = { "t", "u" };

static int claims(const char *bytes, size_t n, struct lease_grant *grants)
{
	redisReply *reply = read_reply(bytes);
	struct err err = { 0 };
	int r = lease_reply_claims(reply, n, topics, 2, grants, &err);

	assert_true((r == 0) == (err.msg[0] == '\0'));
	freeReplyObject(reply);
	return r;
}

#define NOBODY	"$0\r\n\r\n"
#define CONTENT "0123456789abcdef0123456789abcdef"

/* The text as a server sends it. */
static int claims_of(const char *text, size_t n, struct lease_grant *grants)
{
	char bytes[512];

	assert_in_range(snprintf(bytes, sizeof(bytes), "$%zu\r\n%s\r\n", strlen(text), text), 1, sizeof(bytes) - 1);
	return claims(bytes, n, grants);
}

static void test_claims(void **state)
{
	struct lease_grant grants[4];

	(void)state;
	assert_int_equal(claims_of("claimed 123 1\nrunning\nexhausted 9007199254740991 4\nconflict u 2147483647 9223372036854775806", 4, grants), 0);
	assert_int_equal(grants[0].verdict, LEASE_VERDICT_CLAIMED);
	assert_int_equal(grants[0].token, 123);
	assert_int_equal(grants[0].attempt, 1);
	assert_int_equal(grants[1].verdict, LEASE_VERDICT_RUNNING);
	assert_int_equal(grants[1].token, 0);
	assert_int_equal(grants[2].verdict, LEASE_VERDICT_EXHAUSTED);
	assert_int_equal(grants[2].token, 9007199254740991);
	assert_int_equal(grants[2].attempt, 4);
	assert_int_equal(grants[3].verdict, LEASE_VERDICT_CONFLICT);
	assert_int_equal(grants[3].holder.partition, INT32_MAX);
	assert_int_equal(grants[3].holder.offset, INT64_MAX - 1);
	assert_ptr_equal(grants[3].holder.topic, topics[1]);
}

static void test_bad_claims(void **state)
{
	static const char *const bad[] = {
		"-OOM command not allowed\r\n",
		"+OK\r\n",
		":3\r\n",
		"$-1\r\n",
		"*0\r\n",
		"*1\r\n$13\r\nclaimed 123 1\r\n",
	};
	static const char *const bad_texts[] = {
		"",
		"claimed",
		"claimed 1",
		"claimed 1 1 1",
		"claimed 1 1 ",
		" claimed 1 1",
		"claimed  1 1",
		"claimed 1 1\n", /* a second line, and an empty one */
		"claimed 1 1\nclaimed 2 1",
		"\nclaimed 1 1",
		"claimed 1 x",
		"claimed 1x 1",
		"claimed +1 1",
		"claimed 0 1", /* a grant without a token */
		"claimed -5 1",
		"claimed 9007199254740992 1", /* Lua cannot count further */
		"claimed 18446744073709551617 1",
		"claimed 5 0",
		"claimed 5 1000001",
		"claimed 5 4294967297",
		"claimed 1.5 1",
		"running 5 1", /* a token without a grant */
		"gone", /* what no claim answers */
		"unknown",
		"held",
		"RUNNING",
		"duplicate", /* another's id, but whose? */
		"duplicate t 7",
		"duplicate t x 7",
		"duplicate t -1 7",
		"duplicate t 1 -7",
		"duplicate t 1 7 9",
		"duplicate t 2147483648 7",
		"duplicate t 1 92233720368547758079",
		"duplicate 1 7", /* of no topic */
		"duplicate x 1 7", /* of a topic that is not ours */
		"duplicate tt 1 7",
		"claimed 5 1 t 1 7", /* a grant that is another's */
		"running t 1 7",
	};
	struct lease_grant grant;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(claims(bad[i], 1, &grant), -EBADMSG);
	for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++)
		assert_int_equal(claims_of(bad_texts[i], 1, &grant), -EBADMSG);
}

static int parse(const char *line, struct reap_lease *lease)
{
	struct err err;

	return lease_line_parse(line, strlen(line), lease, &err);
}

static void test_line(void **state)
{
	struct reap_lease lease;

	(void)state;
	assert_int_equal(parse("running w1.a 17 2 h1 3 99 mayfly.tasks 4 5", &lease), 0);
	assert_int_equal(lease.state, REAP_STATE_RUNNING);
	assert_string_equal(lease.owner, "w1.a");
	assert_int_equal(lease.token, 17);
	assert_int_equal(lease.attempt, 2);
	assert_string_equal(lease.host, "h1");
	assert_int_equal(lease.expires_ms, 99);
	assert_string_equal(lease.topic, "mayfly.tasks");
	assert_int_equal(lease.partition, 4);
	assert_int_equal(lease.offset, 5);
	assert_string_equal(lease.victim, "-");
	assert_int_equal(parse("told r 1 1 h 0 0 t 0 9223372036854775806 w1", &lease), 0);
	assert_string_equal(lease.victim, "w1");
	assert_false(lease.is_key_destroyed);
	assert_int_equal(parse("orphan - 1 1 h 0 0 t 0 9 w1 -", &lease), 0);
	assert_false(lease.is_key_destroyed);
	assert_int_equal(parse("orphan - 1 1 h 0 0 t 0 9 w1 destroyed", &lease), 0);
	assert_true(lease.is_key_destroyed);
	assert_string_equal(lease.vm_id, "-");
	assert_int_equal(parse("running w 1 1 h 0 0 t 0 9 - - " CONTENT " vm-1 team-1", &lease), 0);
	assert_string_equal(lease.vm_id, "vm-1");
	assert_string_equal(lease.tenant, "team-1");
}

static void test_bad_lines(void **state)
{
	static const char *const bad[] = {
		"",
		"running",
		"walking w1.a 17 2 h1 3 99 t 4 5",
		"running w1.a 17 2 h1 3 99 t 4",
		"running  17 2 h1 3 99 t 4 5",
		"running w1.a 17 2 h1 3 99 t 4 5 v w",
		"running w1.a 17 0 h1 3 99 t 4 5",
		"running w1.a 17 2 h1 3 99 t 4 5 v destroyed -",
		("running w1.a 17 2 h1 3 99 t 4 5 v - " CONTENT " vm/1 -"),
		("running w1.a 17 2 h1 3 99 t 4 5 v - " CONTENT " vm-1 - -"),
		"running w1.a 17 2 h1 3 99 t 4 5 ",
		"running w1.a -1 2 h1 3 99 t 4 5",
		"running w1.a 1x 2 h1 3 99 t 4 5",
		"running w1.a 99999999999999999999 2 h1 3 99 t 4 5",
		"running w1.a 17 2 h1 3 99 t 2147483648 5",
		"running w1.a 17 2 h1 3 99 t 4 9223372036854775807",
		"running w1.a 17 2 hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh 3 99 t 4 5",
	};
	struct reap_lease lease;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], &lease), -EBADMSG);
	assert_int_equal(lease_line_parse("running w1.a 17 2 h1\0 3 99 t 4 5", 32, &lease, &err), -EBADMSG);
}

/* It goes to logs and terminals, and helps somebody find the key. */
static void test_message_of_a_bad_line(void **state)
{
	static const char line[] = "running w1.\033[2J\xff 17 2 h1 3 99 t 4 5";
	struct reap_lease lease;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(lease_line_parse(line, strlen(line), &lease, &err), -EBADMSG);
	assert_int_equal(strncmp(err.msg, "owner: ", 7), 0);
	assert_non_null(strstr(err.msg, "'running w1.?[2J? 17 2 h1 3 99 t 4 5'"));
	assert_null(strchr(err.msg, '\033'));
}

/* One broken lease is left out and counted; a broken answer is refused. */
static void test_scan(void **state)
{
	static struct reap_lease leases[REAP_SCAN_MAX];
	redisReply *reply = read_reply("*12\r\n:1000\r\n:7\r\n:3\r\n"
				       "$1\r\na\r\n:900\r\n$37\r\nrunning w 1 1 h 0 2000 t 0 42 someone\r\n"
				       "$1\r\nb\r\n:901\r\n$3\r\nodd\r\n"
				       "$1\r\nc\r\n:902\r\n$0\r\n\r\n");
	struct reap_scan scan;
	struct err err;
	size_t n_bad;

	(void)state;
	assert_int_equal(reap_reply_scan(reply, &scan, leases, &n_bad, &err), 0);
	assert_int_equal(scan.now_ms, 1000);
	assert_int_equal(scan.n_all, 7);
	assert_int_equal(scan.n_due, 3);
	assert_int_equal(scan.n, 1);
	assert_int_equal(n_bad, 1);
	assert_string_equal(leases[0].id, "a");
	assert_int_equal(leases[0].due_ms, 900);
	reply->element[4]->type = REDIS_REPLY_NIL;
	assert_int_equal(reap_reply_scan(reply, &scan, leases, &n_bad, &err), -EBADMSG);
	freeReplyObject(reply);
}

static int find(const char *bytes, size_t n, char cursor[REAP_CURSOR_MAX + 1], struct reap_found *found)
{
	redisReply *reply = read_reply(bytes);
	struct err err = { 0 };
	int r = reap_reply_find(reply, n, cursor, found, &err);

	assert_true((r == 0) == (err.msg[0] == '\0'));
	freeReplyObject(reply);
	return r;
}

static void test_find(void **state)
{
	static const char *const bad[] = {
		"*1\r\n$1\r\n0\r\n",
		"*3\r\n:0\r\n$4\r\nheld\r\n" NOBODY,
		"*3\r\n$0\r\n\r\n$4\r\nheld\r\n" NOBODY,
		"*3\r\n$2\r\n1x\r\n$4\r\nheld\r\n" NOBODY,
		"*3\r\n$21\r\n000000000000000000000\r\n$4\r\nheld\r\n" NOBODY,
		"*3\r\n$1\r\n0\r\n$4\r\nHELD\r\n" NOBODY,
		"*3\r\n$1\r\n0\r\n:1\r\n" NOBODY,
		"*3\r\n$1\r\n0\r\n$4\r\nheld\r\n$-1\r\n",
		"-OOM no\r\n",
	};
	char cursor[REAP_CURSOR_MAX + 1];
	struct reap_found found[3];

	(void)state;
	assert_int_equal(find("*7\r\n$20\r\n18446744073709551615\r\n$4\r\nheld\r\n$1\r\na\r\n$4\r\nfree\r\n" NOBODY
			      "$4\r\nfree\r\n$4\r\nx\033/y\r\n",
			      3, cursor, found),
			 0);
	assert_string_equal(cursor, "18446744073709551615");
	assert_int_equal(found[0].hold, REAP_HOLD_HELD);
	assert_string_equal(found[0].id, "a");
	assert_int_equal(found[1].hold, REAP_HOLD_FREE);
	assert_string_equal(found[1].id, "");
	assert_string_equal(found[2].id, ""); /* no id: it does not go to a log */
	assert_int_equal(find("*3\r\n$1\r\n0\r\n$4\r\nover\r\n" NOBODY, 1, cursor, found), 0);
	assert_int_equal(found[0].hold, REAP_HOLD_OVER);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(find(bad[i], 1, cursor, found), -EBADMSG);
}

static void test_server(void **state)
{
	redisReply *reply = read_reply("$58\r\nuptime_in_seconds:12\r\nmaxmemory:0\r\nmaxmemory_policy:noev\r\n\r\n");
	struct reap_server server;
	struct err err;

	(void)state;
	assert_int_equal(reap_reply_server(reply, &server, &err), 0);
	assert_int_equal(server.uptime_ms, 12000);
	assert_true(server.is_evicting); /* "noev" is not noeviction */
	freeReplyObject(reply);
	reply = read_reply("$2\r\nhi\r\n");
	assert_int_equal(reap_reply_server(reply, &server, &err), -EBADMSG);
	freeReplyObject(reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_claims), cmocka_unit_test(test_bad_claims),
					    cmocka_unit_test(test_line),   cmocka_unit_test(test_bad_lines),
					    cmocka_unit_test(test_message_of_a_bad_line),
					    cmocka_unit_test(test_scan),   cmocka_unit_test(test_find),
					    cmocka_unit_test(test_server) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
