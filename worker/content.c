#include "worker/content.h"

#include <errno.h>
#include <openssl/sha.h>

#include "base/hex.h"

int content_of(const struct task *task, char ret[LEASE_CONTENT_MAX + 1])
{
	cleanup_(buf_free) struct buf packed = { 0 };
	struct task undated = *task; /* lent: nothing of it is freed */
	uint8_t digest[SHA256_DIGEST_LENGTH];

	undated.created_ms = 0;
	if (task_encode(&undated, &packed) < 0)
		return -ENOMEM;
	(void)SHA256(packed.data, packed.len, digest); /* answers its last argument */
	hex_write(digest, LEASE_CONTENT_MAX / 2, ret);
	ret[LEASE_CONTENT_MAX] = '\0';
	return 0;
}
