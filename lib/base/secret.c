#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/hex.h"
#include "base/random.h"

struct secret {
	size_t len;
	size_t mapped;
	uint8_t data[];
};

static int refuse_unlocked(size_t bytes, int errnum, struct err *err)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_MEMLOCK, &limit); /* cannot fail with a valid limit */
	return err_set(err, ERR_HOST, errnum,
		       "lock %zu bytes for keys, where RLIMIT_MEMLOCK is %llu: raise it (LimitMEMLOCK= of a systemd unit, "
		       "ulimits: memlock of a compose file, ulimit -l of a shell)",
		       bytes, (unsigned long long)limit.rlim_cur);
}

int secret_new(size_t len, struct secret **ret, struct err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t mapped = (sizeof(struct secret) + len + page - 1) / page * page;
	struct secret *secret = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (secret == MAP_FAILED)
		return err_set(err, ERR_HOST, errno, "map %zu bytes for a key", mapped);
	if (mlock(secret, mapped) < 0) {
		int errnum = errno;

		(void)munmap(secret, mapped); /* nothing was written to it */
		return refuse_unlocked(mapped, errnum, err);
	}
	(void)madvise(secret, mapped, MADV_DONTDUMP); /* advice: an old kernel may refuse, core dumps are off too */
	(void)madvise(secret, mapped, MADV_WIPEONFORK);
	secret->len = len;
	secret->mapped = mapped;
	*ret = secret;
	return 0;
}

int secret_try_room(size_t n, struct err *err)
{
	struct secret *all;
	int r;

	if (n == 0)
		return 0;
	r = secret_new(n * (size_t)sysconf(_SC_PAGESIZE) - sizeof(struct secret), &all, err);
	if (r == 0)
		secret_free(all);
	return r;
}

int secret_random(size_t len, struct secret **ret, struct err *err)
{
	int r = secret_new(len, ret, err);

	if (r == 0)
		random_fill((*ret)->data, len);
	return r;
}

uint8_t *secret_data(struct secret *secret)
{
	return secret->data;
}

const uint8_t *secret_peek(const struct secret *secret)
{
	return secret->data;
}

size_t secret_len(const struct secret *secret)
{
	return secret->len;
}

int secret_hex(const struct secret *from, struct secret **ret, struct err *err)
{
	int r = secret_new(HEX_CHARS(from->len), ret, err);

	if (r == 0)
		hex_write(from->data, from->len, (char *)(*ret)->data);
	return r;
}

void secret_free(struct secret *secret)
{
	size_t mapped;

	if (!secret)
		return;
	mapped = secret->mapped;
	explicit_bzero(secret, mapped);
	(void)munlock(secret, mapped); /* munmap unlocks too */
	(void)munmap(secret, mapped);
}
