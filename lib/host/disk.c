/* LUKS1, because QEMU opens nothing newer. libcryptsetup makes the header in user space; the empty file system is written
 * through the encryption here, sector by sector, which is 40 times faster than making it in the guest.
 *
 * A volume in the making carries its final name from its first byte on, so that a crash at any point leaves something that
 * is found by name and erased like any other. */
#include "host/disk.h"

#include <assert.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <limits.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/log.h"

#define MAKING_SUFFIX ".making"
#define SECTOR 512
#define MIB (1024ull * 1024)
#define PAYLOAD_OFFSET (2 * MIB)  /* LUKS1's default: header and eight keyslots of a 512-bit key in 4096 sectors */
#define VOLUME_KEY_BYTES 64       /* AES-256-XTS */
#define SLOT_SECRET_BYTES 32      /* hex text of it is DISK_KEY_BYTES */
#define PBKDF_ITERATIONS 1000     /* the least that LUKS1 takes: the secret is random, there is nothing to guess */
#define COPY_BYTES (1024 * 1024)
#define KEY_AREA_BYTES (256 * 1024) /* header and the one keyslot that is ever written */
#define NOISE_BYTES 4096
#define NOISE_SEED_BYTES 256 /* what getrandom() never cuts short */
#define MODE_DESTROYED 0     /* of a file whose key was destroyed: root needs no bits */
#define LUKS_HEADER_BYTES 4096 /* as is the start of the first keyslot; its secret is split into this many stripes: */
#define LUKS_STRIPES 4000

static_assert(LUKS_HEADER_BYTES + LUKS_STRIPES * VOLUME_KEY_BYTES <= KEY_AREA_BYTES, "the keyslot lies in the key area");
static_assert(SLOT_SECRET_BYTES * 2 == DISK_KEY_BYTES, "the keyslot's secret travels as hex text");

static const unsigned size_classes_mib[] = { 64, 128, 256, 512, 1024, 2048, 4096, DISK_LARGEST_MIB };

unsigned disk_size_class_mib(unsigned disk_mib)
{
	for (size_t i = 0; i < ARRAY_SIZE(size_classes_mib); i++)
		if (disk_mib <= size_classes_mib[i])
			return size_classes_mib[i];
	return 0;
}

unsigned disk_file_mib(unsigned disk_mib)
{
	return disk_size_class_mib(disk_mib) + (unsigned)(PAYLOAD_OFFSET / MIB);
}

static int make_dir(const char *path, struct err *err)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? err_set(err, ERR_HOST, errno, "make folder '%s'", path) : 0;
}

static int run_mkfs(char *path, struct err *err)
{
	/* No journal: the disk is thrown away. Nothing is left to be initialised later, and zeros are written, not skipped. */
	static char *const environment[] = { "UNIX_IO_NOZEROOUT=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	char *argv[] = { "mkfs.ext4", "-q", "-F", "-O", "^has_journal,^resize_inode", "-m", "0", "-i", "16384", "-E",
			 "lazy_itable_init=0,nodiscard,root_owner=0:0", path, NULL };
	int status, code;
	pid_t pid;

	code = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environment);
	if (code)
		return err_set(err, ERR_HOST, code, "run mkfs.ext4; install e2fsprogs");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, ERR_HOST, errno, "wait for mkfs.ext4");
	return status ? err_set(err, ERR_HOST, 0, "mkfs.ext4 on '%s' ended with status %d", path, WEXITSTATUS(status)) : 0;
}

/* The folder is locked: what is there under the unfinished name was left by a crash, whose mkfs may still be at it. */
static int prepare_blank(const struct host_place *place, unsigned mib, struct err *err)
{
	char path[PATH_MAX], making[PATH_MAX + sizeof(MAKING_SUFFIX)];
	int fd, r;

	names_blank(place, mib, path);
	if (access(path, R_OK) == 0)
		return 0;
	(void)snprintf(making, sizeof(making), "%s" MAKING_SUFFIX, path);
	(void)unlink(making); /* O_EXCL says when it is still there */
	fd = open(making, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "make '%s'", making);
	r = ftruncate(fd, (off_t)(mib * MIB)) < 0 ? err_set(err, ERR_HOST, errno, "size '%s'", making) : 0;
	close_fd(&fd);
	if (r == 0)
		r = run_mkfs(making, err);
	if (r == 0 && rename(making, path) < 0)
		r = err_set(err, ERR_HOST, errno, "rename '%s'", making);
	if (r < 0)
		(void)unlink(making); /* the error that matters is told already */
	return r;
}

int disk_prepare_blanks(const struct host_place *place, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	char path[PATH_MAX];
	int r;

	names_scratch_dir(place, path);
	r = make_dir(path, err);
	names_blank_dir(place, path);
	if (r == 0 && access(path, F_OK) < 0)
		r = make_dir(path, err);
	if (r < 0)
		return r;
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || flock(dir_fd, LOCK_EX) < 0)
		return err_set(err, ERR_HOST, errno, "lock the folder '%s'", path);
	for (size_t i = 0; i < ARRAY_SIZE(size_classes_mib) && r == 0; i++)
		r = prepare_blank(place, size_classes_mib[i], err);
	return r;
}

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

int disk_format(const struct host_place *place, const char *id, unsigned disk_mib, struct secret **ret_key, int *ret_fd,
		struct err *err)
{
	cleanup_(secret_freep) struct secret *slot_secret = NULL;
	cleanup_(secret_freep) struct secret *key = NULL;
	unsigned mib = disk_size_class_mib(disk_mib);
	cleanup_fd int fd = -1;
	char path[PATH_MAX];
	struct err ignored;
	int r;

	if (!mib)
		return err_set(err, ERR_INPUT, 0, "disk_mib: %u MiB is more than the largest disk, %d", disk_mib,
			       DISK_LARGEST_MIB);
	names_disk(place, id, path);
	r = secret_random(SLOT_SECRET_BYTES, &slot_secret, err);
	if (r == 0)
		r = secret_hex(slot_secret, &key, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, errno == EEXIST ? ERR_BUSY : ERR_HOST, errno, "make the disk '%s'", path);
	r = fill_volume(place, path, mib, fd, key, err);
	if (r < 0) {
		(void)disk_erase(place, id, &ignored); /* the first error is the one to tell */
		return r;
	}
	*ret_key = TAKE_PTR(key);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* What follows meets what a VMM had open for writing: a hostile one may have cut it, punched it or put any bytes anywhere, another
 * LUKS header among them. So nothing of it is parsed, by us or by a library: it is overwritten with bytes that nobody could
 * foresee, and what is read back is compared with these. */

/* Random, so that nobody can have put them there before. */
static void make_noise(uint8_t noise[NOISE_BYTES])
{
	if (getrandom(noise, NOISE_SEED_BYTES, 0) < 0)
		memset(noise, 0x5a, NOISE_SEED_BYTES); /* a kernel without randomness: others than there were, at least */
	for (size_t i = NOISE_SEED_BYTES; i < NOISE_BYTES; i += NOISE_SEED_BYTES)
		memcpy(noise + i, noise, NOISE_SEED_BYTES);
}

/* -ENOENT: there is none. A FIFO or a device is not even opened. */
static int open_disk(const char *path, int *ret_fd, struct err *err)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? -ENOENT : err_set(err, ERR_HOST, errno, "look at the disk '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_HOST, 0, "something that is no file is where the disk '%s' should be", path);
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "open the disk '%s' to destroy its key", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Its VMM may have given the blocks that held the key back to the file system, where no overwrite reaches them. */
static bool has_whole_key_area(int fd)
{
	off_t hole = lseek(fd, 0, SEEK_HOLE); /* the end of the file, where there is none; ENXIO: the file is empty */

	return hole < 0 ? errno != ENXIO : hole >= KEY_AREA_BYTES;
}

/* Only these bytes are waited for: what the guest wrote last need not reach the disk any more. */
static int overwrite_key_area(int fd, const char *path, uint8_t noise[NOISE_BYTES], struct err *err)
{
	struct iovec pieces[KEY_AREA_BYTES / NOISE_BYTES];
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct iovec){ .iov_base = noise, .iov_len = NOISE_BYTES };
	n = pwritev2(fd, pieces, ARRAY_SIZE(pieces), 0, RWF_DSYNC);
	if (n == KEY_AREA_BYTES)
		return 0;
	return err_set(err, ERR_HOST, n < 0 ? errno : EIO, "overwrite the key area of '%s'", path);
}

/* From the device, where the page cache lets go of it. */
static int compare_key_area(int fd, const char *path, const uint8_t noise[NOISE_BYTES], struct err *err)
{
	uint8_t found[NOISE_BYTES];

	(void)posix_fadvise(fd, 0, KEY_AREA_BYTES, POSIX_FADV_DONTNEED); /* a hint */
	for (off_t at = 0; at < KEY_AREA_BYTES; at += NOISE_BYTES) {
		ssize_t n = pread(fd, found, sizeof(found), at);

		if (n != NOISE_BYTES)
			return err_set(err, ERR_HOST, n < 0 ? errno : EIO, "read back the key area of '%s'", path);
		if (memcmp(found, noise, NOISE_BYTES) != 0)
			return err_set(err, ERR_HOST, 0,
				       "the key area of '%s' does not hold what was just written: does a VMM still have it?", path);
	}
	return 0;
}

int disk_destroy_key(const struct host_place *place, const char *id, bool *ret_is_gone, struct err *err)
{
	uint8_t noise[NOISE_BYTES];
	cleanup_fd int fd = -1;
	char path[PATH_MAX];
	bool is_whole;
	int r;

	*ret_is_gone = false;
	names_disk(place, id, path);
	r = open_disk(path, &fd, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	make_noise(noise);
	is_whole = has_whole_key_area(fd);
	r = overwrite_key_area(fd, path, noise, err);
	if (r == 0)
		r = compare_key_area(fd, path, noise, err);
	if (r < 0)
		return r;
	if (is_whole)
		*ret_is_gone = fchmod(fd, MODE_DESTROYED) == 0;
	else
		log_warn("disk.key", "id=%s message=\"its disk was cut short or has holes where the key was: it is not claimed that "
				     "the key was destroyed\"", id);
	return 0;
}

/* The mode is ours alone: who only has the file open cannot change it. */
static bool is_key_destroyed(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == MODE_DESTROYED;
}

int disk_erase(const struct host_place *place, const char *id, struct err *err)
{
	struct err key_err;
	char path[PATH_MAX];
	bool is_gone;

	names_disk(place, id, path);
	if (!is_key_destroyed(path) && disk_destroy_key(place, id, &is_gone, &key_err) < 0)
		log_error("disk.key", "id=%s message=\"%s; removing the disk all the same\"", id, key_err.msg);
	if (remove(path) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, ERR_HOST, errno, "remove the disk '%s'", path);
}
