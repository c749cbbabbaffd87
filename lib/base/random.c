#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/types.h>

void random_fill(void *out, size_t len)
{
	uint8_t *at = out;

	while (len) {
		ssize_t n = getrandom(at, len, 0); /* short for more than 256 bytes, when a signal comes */

		assert(n >= 0 || errno == EINTR);
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}
