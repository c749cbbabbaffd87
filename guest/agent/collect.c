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
	struct stat stat;
};

/* With the task's user id for file access the kernel refuses what the task could not read itself. */
static int open_as_task(const char *path)
{
	cleanup_fd int work_fd = open(DISK_WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (work_fd < 0)
		return -errno;
	(void)setfsgid(TASK_GID); /* root may; these calls have no other way to fail */
	(void)setfsuid(TASK_UID);
	fd = open_beneath(work_fd, path, O_RDONLY, 0);
	(void)setfsuid(0);
	(void)setfsgid(0);
	return fd;
}

static const char *open_error(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return "no such file";
	case ELOOP:
		return "it is a symbolic link, or lies behind one";
	case EACCES:
		return "the task itself may not read it";
	case ENXIO:
		return "not a regular file";
	default:
		return strerror(errnum);
	}
}

/* NULL, or why this path is not sent. */
static const char *open_source(const char *path, uint64_t limit_bytes, struct source *source, char why[96])
{
	source->fd = open_as_task(path);
	if (source->fd < 0)
		return open_error(-source->fd);
	if (fstat(source->fd, &source->stat) < 0)
		return strerror(errno);
	if (!S_ISREG(source->stat.st_mode))
		return "not a regular file";
	if ((uint64_t)source->stat.st_size <= limit_bytes)
		return NULL;
	(void)snprintf(why, 96, "its %lld bytes are more than the %llu that may still be collected",
		       (long long)source->stat.st_size, (unsigned long long)limit_bytes);
	return why;
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

static int send_file(struct channel *channel, const char *path, uint64_t *limit_bytes)
{
	struct frame frame = { .type = FRAME_FILE, .path = { .text = path, .len = strlen(path) } };
	struct source source;
	char why[96];
	const char *error = open_source(path, *limit_bytes, &source, why);
	cleanup_fd int fd = source.fd;

	if (error)
		return send_error(channel, frame, error);
	frame.size = (uint64_t)source.stat.st_size;
	frame.mode = source.stat.st_mode & TASK_MAX_FILE_MODE;
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
		r = send_file(channel, path, &limit_bytes);
	}
	return r < 0 ? r : send_frame(channel, &(struct frame){ .type = FRAME_COLLECTED });
}
