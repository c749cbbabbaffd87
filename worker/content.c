#include "worker/content.h"

#include <errno.h>
#include <openssl/sha.h>

int content_of(const struct task *task, char ret[LEASE_CONTENT_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	cleanup_(buf_free) struct buf packed = { 0 };
	struct task undated = *task; /* lent: nothing of it is freed */
	uint8_t digest[SHA256_DIGEST_LENGTH];

	undated.created_ms = 0;
	if (task_encode(&undated, &packed) < 0)
		return -ENOMEM;
	(void)SHA256(packed.data, packed.len, digest); /* answers its last argument */
	for (size_t i = 0; i < LEASE_CONTENT_MAX / 2; i++) {
		ret[2 * i] = digits[digest[i] >> 4];
		ret[2 * i + 1] = digits[digest[i] & 0xf];
	}
	ret[LEASE_CONTENT_MAX] = '\0';
	return 0;
}
