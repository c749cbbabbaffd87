/* Memory that is sealed: what a seal forbids, and to whom. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/own.h"
#include "host/sealed.h"
#include "tests/unit/unit.h"

#define BYTES (64u * 4096u)
#define PAGE  4096u

static int memory(uint64_t bytes)
{
	struct err err;
	int fd = -1;

	assert_int_equal(sealed_memory_new("test", bytes, &fd, &err), 0);
	return fd;
}

static void test_its_size_is_fixed_from_the_start(void **state)
{
	cleanup_fd int fd = memory(BYTES), state_fd = memory(0);

	(void)state;
	assert_int_equal(lseek(fd, 0, SEEK_END), BYTES);
	assert_true(ftruncate(fd, BYTES - 1) < 0 && ftruncate(fd, BYTES + 1) < 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1); /* and it may be written */
	assert_int_equal(ftruncate(state_fd, BYTES), 0);
}

static void test_who_can_still_write_keeps_it_open(void **state)
{
	cleanup_fd int fd = memory(BYTES);
	char *mapped = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct err err;

	(void)state;
	assert_true(mapped != MAP_FAILED);
	assert_int_equal(sealed_memory_seal(fd, &err), -EBUSY);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_int_equal(munmap(mapped, BYTES), 0);
	assert_int_equal(sealed_memory_seal(fd, &err), 0);
	assert_int_equal(sealed_memory_seal(fd, &err), 0); /* fine twice */
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
}

static void test_what_is_not_sealed_is_not_taken(void **state)
{
	cleanup_fd int fd = memory(BYTES), file_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), again_fd = -1;
	struct err err;
	uint64_t bytes = 0;

	(void)state;
	assert_true(sealed_memory_check(fd, &bytes, &err) < 0);
	assert_int_equal(err.kind, ERR_BUG);
	assert_true(sealed_memory_reopen(fd, &again_fd, &err) < 0);
	assert_true(sealed_memory_check(file_fd, &bytes, &err) < 0);
	assert_true(sealed_memory_check(-1, &bytes, &err) < 0);
	assert_int_equal(sealed_memory_seal(fd, &err), 0);
	assert_int_equal(sealed_memory_check(fd, &bytes, &err), 0);
	assert_int_equal(bytes, BYTES);
}

static char byte_of(int fd)
{
	char byte = 0;

	assert_int_equal(read(fd, &byte, 1), 1);
	return byte;
}

static void test_each_reads_at_its_own_place(void **state)
{
	cleanup_fd int fd = memory(0), dup_fd = -1, a_fd = -1, b_fd = -1;
	struct err err;

	(void)state;
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(sealed_memory_seal(fd, &err), 0);
	assert_int_equal(sealed_memory_reopen(fd, &a_fd, &err), 0);
	assert_int_equal(sealed_memory_reopen(fd, &b_fd, &err), 0);
	assert_int_equal(byte_of(a_fd), 'a');
	assert_int_equal(byte_of(a_fd), 'b');
	assert_int_equal(byte_of(b_fd), 'a');
	dup_fd = dup(b_fd); /* control: a descriptor that was only passed on */
	assert_int_equal(byte_of(dup_fd), 'b');
	assert_int_equal(byte_of(b_fd), 'c');
	assert_int_equal(write(a_fd, "x", 1), -1);
}

/* Why a clone may take more memory than its own: what it writes to a hole is there twice. */
static void test_holes_are_filled_by_who_looks(void **state)
{
	cleanup_fd int fd = memory(BYTES);
	uint64_t holes = 0;
	struct err err;
	char *mapped;

	(void)state;
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(sealed_memory_seal(fd, &err), 0);
	assert_int_equal(sealed_memory_holes(fd, &holes, &err), 0);
	assert_int_equal(holes, BYTES - PAGE);
	mapped = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(mapped != MAP_FAILED);
	mapped[PAGE] = 1;
	assert_int_equal(sealed_memory_holes(fd, &holes, &err), 0);
	assert_int_equal(holes, BYTES - 2 * PAGE);
	assert_int_equal(munmap(mapped, BYTES), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_its_size_is_fixed_from_the_start),
		cmocka_unit_test(test_who_can_still_write_keeps_it_open),
		cmocka_unit_test(test_what_is_not_sealed_is_not_taken),
		cmocka_unit_test(test_each_reads_at_its_own_place),
		cmocka_unit_test(test_holes_are_filled_by_who_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
