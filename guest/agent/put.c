#include "guest/agent/put.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/beneath.h"
#include "guest/agent/mounts.h"

/* Open one folder below `dir_fd`, made for the task when it is not there. */
static int open_folder(int dir_fd, const char *name, struct err *err)
{
	bool is_new = mkdirat(dir_fd, name, 0755) == 0;
	int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return err_set(err, ERR_INPUT, -fd, "make the folder '%s' in /work", name);
	if (is_new && fchown(fd, TASK_UID, TASK_GID) < 0) {
		close_fd(&fd);
		return err_set(err, ERR_HOST, errno, "hand over the folder '%s' in /work", name);
	}
	return fd;
}

/* Open the folder that holds `path`, cutting `path` into components; *ret_name is the last one. */
static int open_parent(char *path, const char **ret_name, struct err *err)
{
	cleanup_fd int dir_fd = open(DISK_WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	if (dir_fd < 0)
		return err_set(err, ERR_HOST, errno, "open /work");
	for (; (slash = strchr(path, '/')); path = slash + 1) {
		int next_fd;

		*slash = '\0';
		next_fd = open_folder(dir_fd, path, err);
		if (next_fd < 0)
			return next_fd;
		close_fd(&dir_fd);
		dir_fd = next_fd;
	}
	*ret_name = path;
	return take_fd(&dir_fd);
}

/* A new file, whatever had its name before. */
static int begin(struct put *put, const struct frame *frame, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	char path[TASK_MAX_PATH_BYTES + 1];
	const char *name = path;

	memcpy(path, put->path, sizeof(path));
	dir_fd = open_parent(path, &name, err);
	if (dir_fd < 0)
		return dir_fd;
	(void)unlinkat(dir_fd, name, 0); /* O_EXCL says when something is still there */
	put->fd = open_beneath(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (put->fd < 0)
		return err_set(err, ERR_INPUT, -put->fd, "make the file '%s' in /work", put->path);
	if (fchown(put->fd, TASK_UID, TASK_GID) < 0 || fchmod(put->fd, frame->mode) < 0)
		return err_set(err, ERR_HOST, errno, "hand over the file '%s' in /work", put->path);
	return 0;
}

static int write_all(struct put *put, const uint8_t *data, size_t len, struct err *err)
{
	while (len) {
		ssize_t n = write(put->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, ERR_INPUT, errno, "write the file '%s' in /work", put->path);
		data += n;
		len -= (size_t)n;
		put->offset += (uint64_t)n;
	}
	return 0;
}

static bool is_next_piece(const struct put *put, const struct frame *frame)
{
	return put->fd >= 0 && frame->offset == put->offset && strlen(put->path) == frame->path.len &&
	       memcmp(put->path, frame->path.text, frame->path.len) == 0;
}

static int take_piece(struct put *put, const struct frame *frame, struct err *err)
{
	int r = 0;

	if (frame->offset == 0) {
		put_cancel(put); /* an empty first piece came, or it begins again */
		put->offset = 0;
		memcpy(put->path, frame->path.text, frame->path.len);
		put->path[frame->path.len] = '\0';
		r = begin(put, frame, err);
	} else if (!is_next_piece(put, frame)) {
		r = err_set(err, ERR_BUG, 0, "a piece of '%.*s' does not continue the file before it",
			    (int)frame->path.len, frame->path.text);
	}
	return r < 0 ? r : write_all(put, frame->data, frame->len, err);
}

int put_piece(struct put *put, const struct frame *frame, struct err *err)
{
	int r = take_piece(put, frame, err);

	if (r < 0 || frame->is_last)
		put_cancel(put);
	return r;
}

void put_cancel(struct put *put)
{
	close_fd(&put->fd);
}
