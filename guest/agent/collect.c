#include "guest/agent/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/beneath.h"
#include "guest/agent/disk.h"

struct source {
	int fd;
	struct stat stat; /* all zero when there is no such thing */
};

/* With the task's user id for file access the kernel refuses what the task could not read itself. */
static int open_as_task(const char *path, int flags)
{
	cleanup_fd int work_fd = open(DISK_WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (work_fd < 0)
		return -errno;
	(void)setfsgid(TASK_GID); /* root may; these calls have no other way to fail */
	(void)setfsuid(TASK_UID);
	fd = open_beneath(work_fd, path, flags, 0);
	(void)setfsuid(0);
	(void)setfsgid(0);
	return fd;
}

static const char *open_error(const char *path, int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return strpbrk(path, "*?[") ? "no such file; collect knows no patterns: name every file" : "no such file";
	case ELOOP:
		return "it lies behind a symbolic link, which is not followed";
	case EACCES:
		return "the task itself may not read it";
	default:
		return strerror(errnum);
	}
}

/* NULL, or why this is nothing that is collected. */
static const char *check_type(mode_t mode)
{
	if (S_ISDIR(mode))
		return "it is a folder; collect takes files only: pack it first, with tar for example";
	if (S_ISLNK(mode))
		return "it is a symbolic link, which is not followed";
	return S_ISREG(mode) ? NULL : "not a regular file";
}

/* Whatever it is, without reading it: a file that is not sent has a size and a mode, too. */
static const char *look_at(const char *path, struct source *source)
{
	cleanup_fd int fd = open_as_task(path, O_PATH);

	if (fd < 0)
		return open_error(path, -fd);
	return fstat(fd, &source->stat) < 0 ? strerror(errno) : check_type(source->stat.st_mode);
}

/* NULL, or why this path is not sent. */
static const char *open_source(const char *path, uint64_t limit_bytes, struct source *source, char why[96])
{
	const char *error = look_at(path, source);

	if (error)
		return error;
	if ((uint64_t)source->stat.st_size > limit_bytes) {
		(void)snprintf(why, 96, "its %lld bytes are more than the %llu that may still be collected",
			       (long long)source->stat.st_size, (unsigned long long)limit_bytes);
		return why;
	}
	source->fd = open_as_task(path, O_RDONLY);
	return source->fd < 0 ? open_error(path, -source->fd) : NULL;
}

static int send_frame(struct channel *channel, const struct frame *frame)
{
	int r = channel_send(channel, frame);

	return r < 0 ? r : channel_flush(channel);
}

static int send_error(struct channel *channel, struct frame frame, const char *error)
{
	frame.data = NULL;
	frame.len = 0;
	frame.is_last = true;
	frame.error = (struct frame_text){ .text = error, .len = strlen(error) };
	return send_frame(channel, &frame);
}

/* The whole file, at most the size that it had when it was opened. */
static int send_content(struct channel *channel, int fd, struct frame frame)
{
	uint8_t piece[FRAME_DATA_MAX];
	int r = 0;

	while (r == 0 && !frame.is_last) {
		uint64_t left = frame.size - frame.offset;
		ssize_t n = read(fd, piece, left < sizeof(piece) ? (size_t)left : sizeof(piece));

		if (n < 0)
			return send_error(channel, frame, strerror(errno));
		if (n == 0 && left)
			return send_error(channel, frame, "it is shorter than its size says");
		frame.data = piece;
		frame.len = (size_t)n;
		frame.is_last = (uint64_t)n == left;
		r = send_frame(channel, &frame);
		frame.offset += (uint64_t)n;
	}
	return r;
}

static int send_file(struct channel *channel, uint32_t exec, const char *path, uint64_t *limit_bytes)
{
	struct frame frame = { .type = FRAME_FILE, .exec = exec, .path = { .text = path, .len = strlen(path) } };
	struct source source = { .fd = -1 };
	char why[96];
	const char *error = open_source(path, *limit_bytes, &source, why);
	cleanup_fd int fd = source.fd;

	frame.size = S_ISREG(source.stat.st_mode) ? (uint64_t)source.stat.st_size : 0;
	frame.mode = source.stat.st_mode & FRAME_MODE_MAX;
	if (error)
		return send_error(channel, frame, error);
	*limit_bytes -= frame.size;
	return send_content(channel, fd, frame);
}

int collect_files(struct channel *channel, const struct frame *frame)
{
	uint64_t limit_bytes = frame->limit_bytes;
	int r = 0;

	for (size_t i = 0; r == 0 && i < frame->n_paths; i++) {
		char path[TASK_MAX_PATH_BYTES + 1] = { 0 };

		if (frame->paths[i].len >= sizeof(path))
			return -EBADMSG;
		memcpy(path, frame->paths[i].text, frame->paths[i].len);
		r = send_file(channel, frame->exec, path, &limit_bytes);
	}
	return r < 0 ? r : send_frame(channel, &(struct frame){ .type = FRAME_COLLECTED, .exec = frame->exec });
}
