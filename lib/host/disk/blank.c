#include "host/disk/blank.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "host/sealed.h"
#include "wire/work_disk.h"

#define MAKING_SUFFIX ".making"
#define TREE_SUFFIX   ".folders"
#define PAGE_BYTES    4096u

static const unsigned size_classes_mib[] = { 64, 128, 256, 512, 1024, 2048, 4096, DISK_LARGEST_MIB };

unsigned disk_size_class_mib(unsigned disk_mib)
{
	for (size_t i = 0; i < ARRAY_SIZE(size_classes_mib); i++)
		if (disk_mib <= size_classes_mib[i])
			return size_classes_mib[i];
	return 0;
}

static int make_dir(const char *path, struct err *err)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? err_set(err, ERR_HOST, errno, "make folder '%s'", path) : 0;
}

static int run_mkfs(const char *path, const char *tree, struct err *err)
{
	/* No journal: the disk is thrown away. Nothing is left to be initialised later, and zeros are written, not skipped. */
	static char *const environment[] = { "UNIX_IO_NOZEROOUT=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	char *argv[] = { "mkfs.ext4", "-q", "-F", "-O", "^has_journal,^resize_inode", "-m", "0", "-i", "16384", "-E",
			 "lazy_itable_init=0,nodiscard,root_owner=0:0", "-d", (char *)(uintptr_t)tree,
			 (char *)(uintptr_t)path, NULL };
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

static const struct {
	const char *name;
	mode_t mode;
	uid_t uid;
} folders[] = {
	{ WORK_DISK_UPPER, 0755, 0 },
	{ WORK_DISK_OVERLAY, 0700, 0 },
	{ WORK_DISK_WORK, 0755, WORK_DISK_UID },
};

static int make_tree(const char *tree, struct err *err)
{
	char path[PATH_MAX + NAME_MAX];
	int r = make_dir(tree, err);

	for (size_t i = 0; i < ARRAY_SIZE(folders) && r == 0; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", tree, folders[i].name);
		r = make_dir(path, err);
		if (r == 0 && (chown(path, folders[i].uid, folders[i].uid) < 0 || chmod(path, folders[i].mode) < 0))
			r = err_set(err, ERR_HOST, errno, "hand over '%s'", path);
	}
	return r;
}

static void remove_tree(const char *tree)
{
	char path[PATH_MAX + NAME_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", tree, folders[i].name);
		(void)rmdir(path); /* what is left is in nobody's way: the next one finds it made */
	}
	(void)rmdir(tree);
}

int disk_fill_blank(const char *path, struct err *err)
{
	char tree[PATH_MAX];
	int r;

	if (snprintf(tree, sizeof(tree), "%s" TREE_SUFFIX, path) >= (int)sizeof(tree))
		return err_set(err, ERR_HOST, ENAMETOOLONG, "make '%s'", path);
	r = make_tree(tree, err);
	if (r == 0)
		r = run_mkfs(path, tree, err);
	remove_tree(tree);
	return r;
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
	r = ftruncate(fd, (off_t)mib << 20) < 0 ? err_set(err, ERR_HOST, errno, "size '%s'", making) : 0;
	close_fd(&fd);
	if (r == 0)
		r = disk_fill_blank(making, err);
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

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

/* Most of what is written in a blank is zeros, for the sake of who encrypts it. */
static int copy_data(int from_fd, int to_fd)
{
	uint8_t page[PAGE_BYTES];
	off_t at = 0;

	while ((at = lseek(from_fd, at, SEEK_DATA)) >= 0) {
		ssize_t n;

		at -= at % PAGE_BYTES;
		n = pread(from_fd, page, PAGE_BYTES, at);
		if (n == PAGE_BYTES && !is_zero(page))
			n = pwrite(to_fd, page, PAGE_BYTES, at);
		if (n != PAGE_BYTES)
			return n < 0 ? -errno : -EIO;
		at += PAGE_BYTES;
	}
	return errno == ENXIO ? 0 : -errno;
}

int disk_copy_blank(const struct host_place *place, unsigned mib, int *ret_fd, struct err *err)
{
	cleanup_fd int from_fd = -1, fd = -1;
	char path[PATH_MAX];
	int r;

	names_blank(place, mib, path);
	from_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (from_fd < 0)
		return err_set(err, ERR_HOST, errno, "open the empty file system '%s'; a worker's start makes it", path);
	r = sealed_memory_new("blank", (uint64_t)mib << 20, &fd, err);
	if (r < 0)
		return r;
	r = copy_data(from_fd, fd);
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "copy the empty file system '%s' to memory", path);
	*ret_fd = take_fd(&fd);
	return 0;
}
