/* A lease's line as the reaper reads it from Redis, where an operator or another program may have put anything. */
#include <string.h>

#include "bus/lease_keys.h"
#include "bus/lease_line.h"
#include "tests/fuzz/target.h"

/* Safe to print, and to write back as a field of a line. */
static void check_word(const char *word, size_t size)
{
	FUZZ_CHECK(strnlen(word, size) < size && word[0]);
	for (; *word; word++)
		FUZZ_CHECK(*word > ' ' && *word < 0x7f);
}

static void check_message(const char *msg)
{
	FUZZ_CHECK(*msg);
	for (; *msg; msg++)
		FUZZ_CHECK(*msg >= ' ' && *msg < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reap_lease lease;
	struct err err = { .kind = ERR_NONE };

	memset(&lease, 0, sizeof(lease));
	if (lease_line_parse((const char *)data, len, &lease, &err) < 0) {
		FUZZ_CHECK(err.kind == ERR_HOST);
		check_message(err.msg);
		return 0;
	}
	FUZZ_CHECK((unsigned)lease.state < REAP_STATE_COUNT);
	check_word(lease.owner, sizeof(lease.owner));
	FUZZ_CHECK((strcmp(lease.owner, "-") == 0) == (lease.state == REAP_STATE_ORPHAN));
	check_word(lease.victim, sizeof(lease.victim));
	check_word(lease.host, sizeof(lease.host));
	check_word(lease.topic, sizeof(lease.topic));
	FUZZ_CHECK(lease.token > 0 && lease.token <= LEASE_NUMBER_MAX && lease.expires_ms <= LEASE_NUMBER_MAX);
	FUZZ_CHECK(lease.partition >= 0 && lease.offset >= 0);
	return 0;
}
