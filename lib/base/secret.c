#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>

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
	int r = secret_new(n * (size_t)sysconf(_SC_PAGESIZE) - sizeof(struct secret), &all, err);

	if (r == 0)
		secret_free(all);
	return r;
}

int secret_random(size_t len, struct secret **ret, struct err *err)
{
	cleanup_(secret_freep) struct secret *secret = NULL;
	size_t done = 0;
	int r = secret_new(len, &secret, err);

	if (r < 0)
		return r;
	while (done < len) {
		ssize_t n = getrandom(secret->data + done, len - done, 0);

		if (n < 0 && errno != EINTR)
			return err_set(err, ERR_HOST, errno, "getrandom");
		if (n > 0)
			done += (size_t)n;
	}
	*ret = TAKE_PTR(secret);
	return 0;
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
	static const char digits[] = "0123456789abcdef";
	struct secret *hex;
	int r = secret_new(from->len * 2, &hex, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < from->len; i++) {
		hex->data[2 * i] = (uint8_t)digits[from->data[i] >> 4];
		hex->data[2 * i + 1] = (uint8_t)digits[from->data[i] & 15];
	}
	*ret = hex;
	return 0;
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
