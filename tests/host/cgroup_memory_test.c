/* What a control group takes of the host's memory, on the real file system of whichever version is here: what its
 * processes changed, and neither what they share with who had it first, nor files that the kernel can drop. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "host/cgroup.h"
#include "tests/unit/unit.h"

#define MIB	    (1024u * 1024u)
#define OWN_MIB	    32 /* touched by the member */
#define SHARED_MIB  64 /* touched by us first, as by a template */
#define CHANGED_MIB 8  /* of those, written by the member to a mapping of its own */
#define FILE_MIB    48 /* written by the member */
#define SLACK_MIB   8  /* page tables, stacks, what the kernel counts in batches */

static char group[96];

static void touch(char *memory, size_t mib)
{
	for (size_t i = 0; i < mib * MIB; i += 4096)
		memory[i] = (char)(i / 4096 + 1);
}

static char *map(int fd, size_t mib, int flags)
{
	char *memory = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		_exit(2);
	return memory;
}

static void write_file(void)
{
	char path[] = "memory-test.XXXXXX"; /* where the tests are built: on a disk */
	cleanup_free char *chunk = calloc(1, MIB);
	cleanup_fd int fd = mkstemp(path);

	if (fd < 0 || !chunk)
		_exit(3);
	(void)unlink(path);
	for (int i = 0; i < FILE_MIB; i++)
		if (write(fd, chunk, MIB) != MIB)
			_exit(4);
	if (fsync(fd) < 0)
		_exit(5);
	(void)take_fd(&fd); /* its pages stay while it is open */
}

/* Never returns. */
static void be_member(int shared_fd, int ready_fd)
{
	const volatile char *seen;
	struct err err;
	char *shared;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cgroup_enter(group, &err) < 0)
		_exit(1);
	touch(map(-1, OWN_MIB, MAP_PRIVATE | MAP_ANONYMOUS), OWN_MIB);
	shared = map(shared_fd, SHARED_MIB, MAP_PRIVATE);
	seen = shared;
	for (size_t i = 0; i < SHARED_MIB * MIB; i += 4096)
		(void)seen[i]; /* a read that is volatile is done */
	touch(shared, CHANGED_MIB);
	write_file();
	if (write(ready_fd, "r", 1) != 1)
		_exit(6);
	for (;;)
		(void)pause();
}

/* As the engine asks: without privileges. */
static uint64_t ask_as_engine(void)
{
	int pipe_fds[2], status;
	uint64_t bytes = 0;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct err err;

		if (setgroups(0, NULL) < 0 || setresgid(64200, 64200, 64200) < 0 || setresuid(64200, 64200, 64200) < 0)
			_exit(1);
		if (cgroup_memory(group, &bytes, &err) < 0 || write(pipe_fds[1], &bytes, sizeof(bytes)) != sizeof(bytes))
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(pipe_fds[0], &bytes, sizeof(bytes)), sizeof(bytes));
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	return bytes / MIB;
}

/* The control: all that is charged, files as well. */
static uint64_t charged_mib(void)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;
	unsigned long long bytes;

	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/%s", cgroup_version() == 2 ? "" : "memory/", group,
		       cgroup_version() == 2 ? "memory.current" : "memory.usage_in_bytes");
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu", &bytes), 1);
	return bytes / MIB;
}

static void test_what_it_changed_and_no_more(void **state)
{
	const struct cgroup_limits limits = { .memory_bytes = 512ull * MIB, .pids = 8, .cpus = 1 };
	cleanup_fd int shared_fd = memfd_create("shared", MFD_CLOEXEC);
	int pipe_fds[2];
	struct err err;
	uint64_t mib;
	char byte;
	pid_t pid;

	(void)state;
	assert_true(shared_fd >= 0 && ftruncate(shared_fd, (off_t)SHARED_MIB * MIB) == 0 && pipe2(pipe_fds, O_CLOEXEC) == 0);
	touch(map(shared_fd, SHARED_MIB, MAP_SHARED), SHARED_MIB);
	(void)snprintf(group, sizeof(group), "mayfly.memorytest-%d/vm-x", (int)getpid());
	assert_int_equal(cgroup_make(group, &limits, &err), 0);
	pid = fork();
	if (pid == 0)
		be_member(shared_fd, pipe_fds[1]);
	(void)close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	(void)close(pipe_fds[0]);
	mib = ask_as_engine();
	print_message("%llu MiB, with files %llu\n", (unsigned long long)mib, (unsigned long long)charged_mib());
	assert_in_range(mib, OWN_MIB + CHANGED_MIB, OWN_MIB + CHANGED_MIB + SLACK_MIB);
	assert_true(charged_mib() >= mib + FILE_MIB - SLACK_MIB);
	assert_int_equal(cgroup_destroy(group, 20000, &err), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(cgroup_memory(group, &mib, &err) < 0); /* of one that is gone nothing is known */
	*strchr(group, '/') = '\0';
	assert_int_equal(cgroup_destroy(group, 20000, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_it_changed_and_no_more) };

	if (getuid() != 0 || !cgroup_version()) {
		print_message("SKIP: this needs root and control groups\n");
		return getenv("MAYFLY_MUST_RUN") ? 1 : 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
