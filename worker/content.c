#include "worker/content.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/hex.h"

/* Looked up once: by its name for each task it takes longer than the digest. Never freed. */
static const EVP_MD *sha256(void)
{
	static EVP_MD *found;

	if (!found)
		found = EVP_MD_fetch(NULL, "SHA256", NULL);
	return found;
}

/* Used again and again. Never freed. NULL: out of memory. */
static EVP_MD_CTX *hasher(void)
{
	static EVP_MD_CTX *made;

	if (!made)
		made = EVP_MD_CTX_new();
	return made;
}

int content_of(const struct task *task, char ret[LEASE_CONTENT_MAX + 1])
{
	cleanup_(buf_free) struct buf packed = { 0 };
	struct task undated = *task; /* lent: nothing of it is freed */
	uint8_t digest[SHA256_DIGEST_LENGTH];

	undated.created_ms = 0;
	if (task_encode(&undated, &packed) < 0)
		return -ENOMEM;
	if (!hasher() || EVP_DigestInit_ex(hasher(), sha256(), NULL) != 1 || EVP_DigestUpdate(hasher(), packed.data, packed.len) != 1 ||
	    EVP_DigestFinal_ex(hasher(), digest, NULL) != 1)
		return -ENOMEM;
	hex_write(digest, LEASE_CONTENT_MAX / 2, ret);
	ret[LEASE_CONTENT_MAX] = '\0';
	return 0;
}
