/* Keys: locked, left out of dumps and children, and wiped. Linked with --wrap=munmap, to look at the memory in the moment
 * before it goes, and --wrap=mlock, because AddressSanitizer makes mlock() do nothing. */
#include "base/secret.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/unit.h"

int __real_munmap(void *memory, size_t len);
int __wrap_munmap(void *memory, size_t len);

int __wrap_mlock(const void *memory, size_t len);

static size_t unmapped_bytes;
static bool was_all_zero;

int __wrap_munmap(void *memory, size_t len)
{
	const uint8_t *bytes = memory;

	unmapped_bytes = len;
	was_all_zero = true;
	for (size_t i = 0; i < len; i++)
		was_all_zero &= bytes[i] == 0;
	return __real_munmap(memory, len);
}

int __wrap_mlock(const void *memory, size_t len)
{
	return (int)syscall(SYS_mlock, memory, len);
}

static bool is_zero(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i])
			return false;
	return true;
}

/* Does the mapping that holds `address` have this flag in smaps ("dd": not dumped, "lo": locked, "wf": wiped on fork)? */
static bool has_flag(const void *address, const char *flag)
{
	cleanup_file FILE *file = fopen("/proc/self/smaps", "re");
	bool is_inside = false;
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_inside = (uintptr_t)address >= from && (uintptr_t)address < to;
		else if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
			return strstr(line, flag) != NULL;
	}
	return false;
}

static void test_wiped_when_freed(void **state)
{
	struct secret *secret;

	(void)state;
	assert_int_equal(secret_random(64, &secret, NULL), 0);
	assert_false(is_zero(secret_peek(secret), 64)); /* else the check below proves nothing */
	was_all_zero = false;
	secret_free(secret);
	assert_true(unmapped_bytes >= 64);
	assert_true(was_all_zero);
	secret_free(NULL);
}

/* The check sees memory that nobody wiped. */
static void test_wipe_check_can_fail(void **state)
{
	uint8_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(memory != MAP_FAILED);
	memory[100] = 1;
	assert_int_equal(munmap(memory, 4096), 0);
	assert_false(was_all_zero);
}

static void test_memory_is_guarded(void **state)
{
	struct secret *secret;
	char plain[16] = "";

	(void)state;
	assert_int_equal(secret_new(32, &secret, NULL), 0);
	assert_true(is_zero(secret_peek(secret), 32));
	assert_true(has_flag(secret_peek(secret), " dd"));
	assert_true(has_flag(secret_peek(secret), " lo"));
	assert_true(has_flag(secret_peek(secret), " wf"));
	assert_false(has_flag(plain, " dd")); /* ordinary memory has none of it */
	assert_false(has_flag(plain, " wf"));
	secret_free(secret);
}

static void test_children_see_nothing(void **state)
{
	struct secret *secret;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(secret_random(32, &secret, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(is_zero(secret_peek(secret), 32) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(is_zero(secret_peek(secret), 32));
	secret_free(secret);
}

/* In a child that may lock so much: 0 when `check` answers that it holds. */
static int where_limit_is(size_t bytes, bool (*check)(void))
{
	const struct rlimit limit = { bytes, bytes };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || (getuid() == 0 && setuid(65534) < 0))
			_exit(2);
		_exit(!check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool is_refused_in_words(int r, const struct err *err, const char *limit)
{
	return r < 0 && err->kind == ERR_HOST && strstr(err->msg, limit) && strstr(err->msg, "LimitMEMLOCK=") &&
	       strstr(err->msg, "memlock of a compose file") && strstr(err->msg, "ulimit -l");
}

static bool one_is_refused(void)
{
	struct secret *secret;
	struct err err = { 0 };

	return is_refused_in_words(secret_new(32, &secret, &err), &err, "RLIMIT_MEMLOCK is 0:");
}

static void test_unlockable_memory_is_refused(void **state)
{
	(void)state;
	assert_int_equal(where_limit_is(0, one_is_refused), 0);
}

#define FEW 16 /* as many secrets as fit: 64 KiB with pages of 4, the limit of older kernels */

static bool few_have_room(void)
{
	struct err err = { 0 };

	return secret_try_room(FEW, &err) == 0 && secret_try_room(FEW, &err) == 0 && secret_try_room(FEW + 1, &err) < 0 &&
	       is_refused_in_words(-1, &err, "RLIMIT_MEMLOCK is ");
}

static bool few_are_held(void)
{
	struct secret *secrets[FEW + 1];
	unsigned n = 0;

	while (n < FEW + 1 && secret_new(64, &secrets[n], NULL) == 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		secret_free(secrets[i]);
	return n == FEW;
}

/* What is tried at the start is what the keys take later. */
static void test_room_is_what_they_take(void **state)
{
	size_t bytes = FEW * (size_t)sysconf(_SC_PAGESIZE);

	(void)state;
	assert_int_equal(where_limit_is(bytes, few_have_room), 0);
	assert_int_equal(where_limit_is(bytes, few_are_held), 0);
}

static void test_hex(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x0f, 0xa5, 0xff };
	struct secret *secret, *hex;

	(void)state;
	assert_int_equal(secret_new(sizeof(bytes), &secret, NULL), 0);
	memcpy(secret_data(secret), bytes, sizeof(bytes));
	assert_int_equal(secret_hex(secret, &hex, NULL), 0);
	assert_int_equal(secret_len(hex), 8);
	assert_memory_equal(secret_peek(hex), "000fa5ff", 8);
	secret_free(secret);
	secret_free(hex);
}

static void test_random_differs(void **state)
{
	struct secret *one, *two;

	(void)state;
	assert_int_equal(secret_random(32, &one, NULL), 0);
	assert_int_equal(secret_random(32, &two, NULL), 0);
	assert_memory_not_equal(secret_peek(one), secret_peek(two), 32);
	secret_free(one);
	secret_free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wiped_when_freed),
		cmocka_unit_test(test_wipe_check_can_fail),
		cmocka_unit_test(test_memory_is_guarded),
		cmocka_unit_test(test_children_see_nothing),
		cmocka_unit_test(test_unlockable_memory_is_refused),
		cmocka_unit_test(test_room_is_what_they_take),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_random_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
