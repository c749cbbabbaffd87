/* All of this meets what a VMM had open for writing: a hostile one may have cut it, punched it or put any bytes anywhere, a
 * header of some volume among them. So nothing of it is parsed, by us or by a library: it is overwritten with bytes that nobody
 * could foresee, and what is read back is compared with these. */
#include "host/disk/file_key.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/random.h"

#define NOISE_BYTES 4096
#define NOISE_SEED_BYTES 256 /* the rest repeats it */
#define MODE_DESTROYED 0     /* of a file whose key was destroyed: root needs no bits */

/* Random, so that nobody can have put them there before. */
static void make_noise(uint8_t noise[NOISE_BYTES])
{
	random_fill(noise, NOISE_SEED_BYTES);
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

int file_key_destroy(const char *path, const char *vm_id, bool *ret_is_gone, struct err *err)
{
	uint8_t noise[NOISE_BYTES];
	cleanup_fd int fd = -1;
	bool is_whole;
	int r;

	*ret_is_gone = false;
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
				     "the key was destroyed\"", vm_id);
	return 0;
}

/* The mode is ours alone: who only has the file open cannot change it. */
static bool is_key_destroyed(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == MODE_DESTROYED;
}

int file_key_erase(const char *path, const char *vm_id, struct err *err)
{
	struct err key_err;
	bool is_gone;

	if (!is_key_destroyed(path) && file_key_destroy(path, vm_id, &is_gone, &key_err) < 0)
		log_error("disk.key", "id=%s message=\"%s; removing the disk all the same\"", vm_id, key_err.msg);
	if (remove(path) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, ERR_HOST, errno, "remove the disk '%s'", path);
}

int file_key_each(const struct host_place *place, const char *suffix, int (*visit)(void *ctx, const char *vm_id), void *ctx,
		  struct err *err)
{
	const size_t suffix_len = strlen(suffix);
	char path[PATH_MAX], id[NAME_MAX + 1];
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	names_scratch_dir(place, path);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_set(err, ERR_HOST, errno, "list '%s'", path);
	while (r == 0 && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len <= suffix_len || strcmp(entry->d_name + len - suffix_len, suffix) != 0 ||
		    !ident_is_id(entry->d_name, len - suffix_len))
			continue;
		(void)snprintf(id, sizeof(id), "%.*s", (int)(len - suffix_len), entry->d_name);
		r = visit(ctx, id);
	}
	(void)closedir(dir);
	return r;
}
