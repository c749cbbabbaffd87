/* LUKS1, because QEMU opens nothing newer. libcryptsetup makes the header in user space; the empty file system is written
 * through the encryption here, sector by sector, which is 40 times faster than making it in the guest.
 *
 * A volume in the making carries its final name from its first byte on, so that a crash at any point leaves something that
 * is found by name and erased like any other. */
#include "host/disk/form.h"

#include <assert.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "host/disk/file_key.h"

#define SECTOR 512
#define MIB (1024ull * 1024)
#define PAYLOAD_MIB 2 /* LUKS1's default: header and eight keyslots of a 512-bit key in 4096 sectors */
#define PAYLOAD_OFFSET (PAYLOAD_MIB * MIB)
#define VOLUME_KEY_BYTES 64       /* AES-256-XTS */
#define SLOT_SECRET_BYTES 32      /* hex text of it is DISK_KEY_BYTES */
#define PBKDF_ITERATIONS 1000     /* the least that LUKS1 takes: the secret is random, there is nothing to guess */
#define COPY_BYTES (1024 * 1024)
#define LUKS_HEADER_BYTES 4096 /* as is the start of the first keyslot; its secret is split into this many stripes: */
#define LUKS_STRIPES 4000

/* Header and the one keyslot that is ever written. */
static_assert(LUKS_HEADER_BYTES + LUKS_STRIPES * VOLUME_KEY_BYTES <= KEY_AREA_BYTES, "the keyslot lies in the key area");
static_assert(SLOT_SECRET_BYTES * 2 == DISK_KEY_BYTES, "the keyslot's secret travels as hex text");

/* libcryptsetup says everything twice: to its caller and to the terminal. */
static void on_crypt_log(int level, const char *text, void *ctx)
{
	(void)level, (void)text, (void)ctx;
}

static int open_device(struct crypt_device **ret, const char *path)
{
	crypt_set_log_callback(NULL, on_crypt_log, NULL);
	return crypt_init(ret, path);
}

static void free_device(struct crypt_device **device)
{
	crypt_free(*device); /* accepts NULL; wipes its copy of the volume key */
}

static int make_header(const char *path, struct secret *volume_key, const struct secret *key, struct err *err)
{
	/* time_ms 0: any other value makes LUKS1 iterate 125 times longer over the key digest. */
	const struct crypt_pbkdf_type pbkdf = { .type = CRYPT_KDF_PBKDF2, .hash = "sha256",
						.iterations = PBKDF_ITERATIONS, .flags = CRYPT_PBKDF_NO_BENCHMARK };
	struct crypt_params_luks1 params = { .hash = "sha256" };
	cleanup_(free_device) struct crypt_device *device = NULL;
	const char *volume = (const char *)secret_peek(volume_key);
	int r = open_device(&device, path);

	if (r == 0)
		r = crypt_set_pbkdf_type(device, &pbkdf);
	if (r == 0)
		r = crypt_format(device, CRYPT_LUKS1, "aes", "xts-plain64", NULL, volume, VOLUME_KEY_BYTES, &params);
	if (r == 0)
		r = crypt_keyslot_add_by_volume_key(device, 0, volume, VOLUME_KEY_BYTES, (const char *)secret_peek(key),
						    secret_len(key));
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "make the LUKS header of '%s'", path);
	if (crypt_get_data_offset(device) * SECTOR != PAYLOAD_OFFSET)
		return err_set(err, ERR_BUG, 0, "libcryptsetup put the payload of '%s' at an unexpected offset", path);
	return 0;
}

static int encrypt_sectors(EVP_CIPHER_CTX *cipher, const uint8_t *in, uint8_t *out, size_t len, uint64_t first_sector)
{
	for (size_t i = 0; i < len; i += SECTOR) {
		uint64_t sector = first_sector + i / SECTOR;
		uint8_t iv[16] = { 0 }; /* plain64: the sector's number, little-endian, as this machine writes it */
		int n;

		memcpy(iv, &sector, sizeof(sector));
		if (EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv) != 1 ||
		    EVP_EncryptUpdate(cipher, out + i, &n, in + i, SECTOR) != 1)
			return -EIO;
	}
	return 0;
}

struct copy {
	int from_fd, to_fd;
	EVP_CIPHER_CTX *cipher;
	uint8_t *plain, *sealed;
};

/* One extent of data; both ends are multiples of the page size except at the end of the file. */
static int copy_extent(struct copy *copy, off_t from, off_t to)
{
	while (from < to) {
		size_t want = (size_t)(to - from) < COPY_BYTES ? (size_t)(to - from) : COPY_BYTES;
		ssize_t n = pread(copy->from_fd, copy->plain, want, from);
		ssize_t written;

		if (n <= 0 || n % SECTOR)
			return n < 0 ? -errno : -EIO;
		if (encrypt_sectors(copy->cipher, copy->plain, copy->sealed, (size_t)n, (uint64_t)from / SECTOR) < 0)
			return -EIO;
		written = pwrite(copy->to_fd, copy->sealed, (size_t)n, (off_t)PAYLOAD_OFFSET + from);
		if (written != n)
			return written < 0 ? -errno : -ENOSPC;
		from += n;
	}
	return 0;
}

static int copy_data(struct copy *copy)
{
	off_t at = 0;

	for (;;) {
		off_t data = lseek(copy->from_fd, at, SEEK_DATA);
		off_t hole;
		int r;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(copy->from_fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		r = copy_extent(copy, data / SECTOR * SECTOR, hole);
		if (r < 0)
			return r;
		at = hole;
	}
}

static int write_blank(const struct host_place *place, unsigned mib, int to_fd, const struct secret *volume_key,
		       struct err *err)
{
	struct copy copy = { .to_fd = to_fd };
	cleanup_free uint8_t *plain = malloc(COPY_BYTES);
	cleanup_free uint8_t *sealed = malloc(COPY_BYTES);
	cleanup_fd int from_fd = -1;
	char path[PATH_MAX];
	int r = -ENOMEM;

	names_blank(place, mib, path);
	from_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (from_fd < 0)
		return err_set(err, ERR_HOST, errno, "open the empty file system '%s'", path);
	copy.from_fd = from_fd;
	copy.plain = plain;
	copy.sealed = sealed;
	copy.cipher = EVP_CIPHER_CTX_new();
	if (plain && sealed && copy.cipher)
		r = EVP_EncryptInit_ex(copy.cipher, EVP_aes_256_xts(), NULL, secret_peek(volume_key), NULL) == 1 ?
			    copy_data(&copy) :
			    -EIO;
	EVP_CIPHER_CTX_free(copy.cipher); /* wipes the key schedule */
	return r < 0 ? err_set(err, ERR_HOST, -r, "write the empty file system '%s' through the encryption", path) : 0;
}

static int fill_volume(const struct host_place *place, const char *path, unsigned mib, int fd, const struct secret *key,
		       struct err *err)
{
	cleanup_(secret_freep) struct secret *volume_key = NULL;
	int r = secret_random(VOLUME_KEY_BYTES, &volume_key, err);

	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)(PAYLOAD_OFFSET + mib * MIB)) < 0)
		return err_set(err, ERR_HOST, errno, "size '%s'", path);
	r = make_header(path, volume_key, key, err);
	return r < 0 ? r : write_blank(place, mib, fd, volume_key, err);
}

static int luks1_format(const struct host_place *place, const char *vm_id, unsigned mib, struct drive *ret, struct err *err)
{
	cleanup_(secret_freep) struct secret *slot_secret = NULL;
	cleanup_(secret_freep) struct secret *key = NULL;
	cleanup_fd int fd = -1;
	char path[PATH_MAX];
	struct err ignored;
	int r;

	names_disk(place, vm_id, path);
	r = secret_random(SLOT_SECRET_BYTES, &slot_secret, err);
	if (r == 0)
		r = secret_hex(slot_secret, &key, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, errno == EEXIST ? ERR_BUG : ERR_HOST, errno, "make the disk '%s'", path);
	r = fill_volume(place, path, mib, fd, key, err);
	if (r < 0) {
		(void)file_key_erase(path, vm_id, &ignored); /* the first error is the one to tell */
		return r;
	}
	*ret = (struct drive){ .kind = DRIVE_FILE, .fd = take_fd(&fd), .of.file.key = TAKE_PTR(key) };
	return 0;
}

static int luks1_destroy_key(const struct host_place *place, const char *vm_id, bool *ret_is_gone, struct err *err)
{
	char path[PATH_MAX];

	names_disk(place, vm_id, path);
	return file_key_destroy(path, vm_id, ret_is_gone, err);
}

static int luks1_erase(const struct host_place *place, const char *vm_id, struct err *err)
{
	char path[PATH_MAX];

	names_disk(place, vm_id, path);
	return file_key_erase(path, vm_id, err);
}

static int luks1_each(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err)
{
	return file_key_each(place, NAMES_DISK_SUFFIX, visit, ctx, err);
}

const struct disk_form_ops disk_form_luks1 = {
	.name = "luks1",
	.overhead_mib = PAYLOAD_MIB,
	.format = luks1_format,
	.destroy_key = luks1_destroy_key,
	.erase = luks1_erase,
	.each = luks1_each,
};
