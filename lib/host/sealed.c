#include "host/sealed.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/own.h"

#define SIZE_SEALS (F_SEAL_GROW | F_SEAL_SHRINK)
#define ALL_SEALS (SIZE_SEALS | F_SEAL_WRITE | F_SEAL_SEAL)
#define BLOCK_BYTES 512u /* of st_blocks */

static int set_size(int fd, uint64_t bytes, struct err *err)
{
	if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, SIZE_SEALS) < 0)
		return err_set(err, ERR_HOST, errno, "memory of %llu bytes", (unsigned long long)bytes);
	return 0;
}

/* QEMU opens it again by /proc/self/fd, to read and to write, as a user of its own. */
int sealed_memory_new(const char *name, uint64_t bytes, int *ret_fd, struct err *err)
{
	cleanup_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = 0;

	if (fd < 0 || fchmod(fd, 0666) < 0)
		return err_set(err, ERR_HOST, errno, "memory that can be sealed, for %s", name);
	if (bytes)
		r = set_size(fd, bytes, err);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

int sealed_memory_seal(int fd, struct err *err)
{
	if (fcntl(fd, F_GET_SEALS) == ALL_SEALS)
		return 0;
	if (fcntl(fd, F_ADD_SEALS, ALL_SEALS) == 0)
		return 0;
	return err_set(err, errno == EBUSY ? ERR_BUSY : ERR_BUG, errno, "seal a template's memory");
}

int sealed_memory_check(int fd, uint64_t *ret_bytes, struct err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || fstat(fd, &st) < 0)
		return err_set(err, ERR_BUG, errno, "a descriptor that is no memory, where a template's was due");
	if ((seals & ALL_SEALS) != ALL_SEALS)
		return err_set(err, ERR_BUG, EINVAL, "a template's memory with the seals %#x, where %#x were due", (unsigned)seals,
			       (unsigned)ALL_SEALS);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int sealed_memory_reopen(int fd, int *ret_fd, struct err *err)
{
	char path[64];
	uint64_t bytes;
	int r = sealed_memory_check(fd, &bytes, err);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, O_RDONLY | O_CLOEXEC);
	if (r < 0)
		return err_set(err, ERR_HOST, errno, "open a template's memory again");
	*ret_fd = r;
	return 0;
}

int sealed_memory_holes(int fd, uint64_t *ret_bytes, struct err *err)
{
	uint64_t written;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, ERR_BUG, errno, "look at a template's memory");
	written = (uint64_t)st.st_blocks * BLOCK_BYTES;
	*ret_bytes = written < (uint64_t)st.st_size ? (uint64_t)st.st_size - written : 0;
	return 0;
}
