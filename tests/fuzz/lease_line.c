/* A lease's line as the reaper reads it from Redis, where an operator or another program may have put anything. */
#include <string.h>

#include "bus/reap_reply.h"
#include "tests/fuzz/target.h"

static void check_word(const char *word, size_t size)
{
	FUZZ_CHECK(strnlen(word, size) < size && word[0] && !strchr(word, ' '));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reap_lease lease;
	struct err err = { .kind = ERR_NONE };

	memset(&lease, 0, sizeof(lease));
	if (reap_line_parse((const char *)data, len, &lease, &err) < 0) {
		FUZZ_CHECK(err.kind == ERR_HOST && err.msg[0]);
		return 0;
	}
	FUZZ_CHECK((unsigned)lease.state < REAP_STATE_COUNT);
	check_word(lease.owner, sizeof(lease.owner));
	check_word(lease.victim, sizeof(lease.victim));
	check_word(lease.host, sizeof(lease.host));
	check_word(lease.topic, sizeof(lease.topic));
	FUZZ_CHECK(lease.partition >= 0 && lease.offset >= 0);
	return 0;
}
