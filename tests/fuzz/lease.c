/* Redis's answers to the lease library's calls: a byte for the number of leases, one for the kind of the reply, then its text. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "bus/lease_reply.h"
#include "tests/fuzz/target.h"

#define LEASES_MAX 64

static void check_grants(const struct lease_grant *grants, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK((unsigned)grants[i].verdict < LEASE_VERDICT_UNKNOWN); /* only a lost answer is that */
		FUZZ_CHECK(grants[i].verdict == LEASE_VERDICT_CLAIMED || grants[i].verdict == LEASE_VERDICT_EXHAUSTED ||
			   (grants[i].token == 0 && grants[i].attempt == 0));
	}
}

static const char *const topics[] = { "t", "u" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const int types[] = { REDIS_REPLY_STRING, REDIS_REPLY_INTEGER, REDIS_REPLY_NIL, REDIS_REPLY_ERROR, REDIS_REPLY_ARRAY };
	struct lease_grant grants[LEASES_MAX];
	struct err err = { .kind = ERR_NONE };
	cleanup_free char *text = NULL;
	redisReply reply = { 0 };
	size_t n;

	if (len < 2)
		return 0;
	n = 1 + data[0] % (LEASES_MAX - 1);
	reply.type = types[data[1] % ARRAY_SIZE(types)];
	reply.len = len - 2;
	reply.str = text = malloc(len - 1); /* hiredis ends it with a NUL */
	if (!text)
		return 0;
	memcpy(text, data + 2, len - 2);
	text[len - 2] = '\0';
	if (lease_reply_claims(&reply, n, topics, 2, grants, &err) == 0)
		check_grants(grants, n);
	else
		FUZZ_CHECK(err.kind != ERR_NONE && err.msg[0]);
	err.kind = ERR_NONE;
	if (lease_reply_verdicts(&reply, n, grants, &err) == 0)
		check_grants(grants, n);
	else
		FUZZ_CHECK(err.kind != ERR_NONE && err.msg[0]);
	return 0;
}
