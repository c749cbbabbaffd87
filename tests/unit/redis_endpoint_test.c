#include "bus/redis_endpoint.h"

#include "base/own.h"
#include "tests/unit/unit.h"

/* As Redis 5 to 8 say it, to a connection and from inside a script. */
static void test_what_a_person_has_to_mend_is_a_refusal(void **state)
{
	static const char *const refusals[] = {
		"NOAUTH Authentication required.",
		"WRONGPASS invalid username-password pair or user is disabled.",
		"ERR invalid password",
		"ERR AUTH <password> called without any password configured for the default user. Are you sure?",
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"NOPERM this user has no permissions to access one of the keys used as arguments",
		"NOPERM User worker has no permissions to run the 'script|load' command",
		"NOPERM No permissions to access a key",
		"ERR The user executing the script can't run this command or subcommand",
		"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
		"ERR ACL failure in script: User worker has no permissions to run the 'set' command",
		"ERR ACL failure in script: No permissions to access a key",
		"DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (!redis_is_refusal(refusals[i]))
			fail_msg("not seen: %s", refusals[i]);
}

static void test_what_passes_by_itself_is_none(void **state)
{
	static const char *const others[] = {
		"LOADING Redis is loading the dataset in memory",
		"NOSCRIPT No matching script. Please use EVAL.",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"READONLY You can't write against a read only replica.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"ERR max number of clients reached",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (redis_is_refusal(others[i]))
			fail_msg("taken for one: %s", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_person_has_to_mend_is_a_refusal),
		cmocka_unit_test(test_what_passes_by_itself_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
