#include "tools/collected.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"

#define FOLDER_MODE 0755

/* Below `folder_fd` whatever `path` says: the kernel refuses "..", absolute paths and symbolic links. */
static int open_beneath(int folder_fd, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof(how));
}

/* The folder that holds the last component of `path`, made where it is missing. */
static int open_parent(int folder_fd, const char *path)
{
	char part[TASK_MAX_PATH_BYTES + 1];
	cleanup_fd int fd = open_beneath(folder_fd, ".", O_PATH | O_DIRECTORY);
	const char *slash;

	for (; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		int next;

		(void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdirat(fd, part, FOLDER_MODE) < 0 && errno != EEXIST)
			return -1;
		next = open_beneath(fd, part, O_PATH | O_DIRECTORY);
		close_fd(&fd);
		fd = next;
	}
	return take_fd(&fd);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return -1;
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_file(int folder_fd, const struct result_file *file)
{
	const char *slash = strrchr(file->path, '/');
	const char *name = slash ? slash + 1 : file->path;
	cleanup_fd int parent_fd = open_parent(folder_fd, file->path);
	cleanup_fd int fd = -1;
	char partial[32], uuid[37];

	if (parent_fd < 0)
		return -1;
	ident_uuid(uuid);
	(void)snprintf(partial, sizeof(partial), ".mayfly.%.12s", uuid + 24);
	fd = openat(parent_fd, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, file->data, file->len) == 0 && fchmod(fd, file->mode & 0777 & ~0022u) == 0 &&
	    renameat(parent_fd, partial, parent_fd, name) == 0)
		return 0;
	(void)unlinkat(parent_fd, partial, 0); /* the first error is the one to tell */
	return -1;
}

static bool is_asked(const char *path, const struct task_text *asked, size_t n_asked)
{
	for (size_t i = 0; i < n_asked; i++)
		if (strcmp(path, asked[i].text) == 0)
			return true;
	return false;
}

static int write_one(int folder_fd, const char *folder, const struct result_file *file, struct err *err)
{
	if (file->error[0])
		return err_set(err, ERR_INPUT, 0, "/work/%s was not collected: %s", file->path, file->error);
	if (!file->data && file->size)
		return err_set(
			err, ERR_INPUT, 0,
			"/work/%s was not collected: a result carries at most %d KiB of files, this one has %llu bytes",
			file->path, RESULT_FILES_BYTES / 1024, (unsigned long long)file->size);
	if (write_file(folder_fd, file) < 0)
		return err_set(err, ERR_INPUT, errno, "write '%s/%s'", folder, file->path);
	return 0;
}

int collected_prepare(const char *folder, struct err *err)
{
	if (mkdir(folder, FOLDER_MODE) < 0 && errno != EEXIST)
		return err_set(err, ERR_INPUT, errno, "make the folder '%s' for what is collected", folder);
	if (access(folder, W_OK | X_OK) < 0)
		return err_set(err, ERR_INPUT, errno, "write into the folder '%s'", folder);
	return 0;
}

bool collected_write(const struct result *result, const struct task_text *asked, size_t n_asked, const char *folder,
		     void (*on_failure)(void *ctx, const char *message), void *ctx)
{
	cleanup_fd int folder_fd = -1;
	bool is_whole = true;
	struct err err;

	if (!result->n_files)
		return true;
	if (collected_prepare(folder, &err) < 0) {
		on_failure(ctx, err.msg);
		return false;
	}
	folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC); /* if it fails, so does each file */
	for (size_t i = 0; i < result->n_files; i++) {
		if (!is_asked(result->files[i].path, asked, n_asked) ||
		    write_one(folder_fd, folder, &result->files[i], &err) == 0)
			continue;
		on_failure(ctx, err.msg);
		is_whole = false;
	}
	return is_whole;
}
