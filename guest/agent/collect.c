#include "guest/agent/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/beneath.h"
#include "guest/agent/mounts.h"

#define PIECES_PER_TURN 8 /* one long file does not keep the agent from the programs */

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
		return strpbrk(path,
			       "*?[") ? "no such file; collect knows no patterns: name every file" : "no such file";
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

/* The head of every frame about this file. */
static struct frame file_frame(const struct collect *collect)
{
	return (struct frame){ .type = FRAME_FILE,
			       .exec = collect->exec,
			       .path = { .text = collect->path, .len = strlen(collect->path) },
			       .mode = collect->mode,
			       .size = collect->size,
			       .offset = collect->offset };
}

static void next_path(struct collect *collect)
{
	close_fd(&collect->fd);
	collect->offset = 0;
	collect->path += strlen(collect->path) + 1;
	collect->n_paths--;
}

static int send_error(struct collect *collect, struct connection *connection, const char *error)
{
	struct frame frame = file_frame(collect);

	frame.is_last = true;
	frame.error = (struct frame_text){ .text = error, .len = strlen(error) };
	next_path(collect);
	return connection_send(connection, &frame);
}

static int open_file(struct collect *collect, struct connection *connection)
{
	struct source source = { .fd = -1 };
	char why[96];
	const char *error = open_source(collect->path, collect->limit_bytes, &source, why);

	collect->fd = source.fd;
	collect->size = S_ISREG(source.stat.st_mode) ? (uint64_t)source.stat.st_size : 0;
	collect->mode = source.stat.st_mode & FRAME_MODE_MAX;
	if (error)
		return send_error(collect, connection, error);
	collect->limit_bytes -= collect->size;
	return 0;
}

/* The whole file, at most the size that it had when it was opened. */
static int send_piece(struct collect *collect, struct connection *connection)
{
	struct frame frame = file_frame(collect);
	uint64_t left = collect->size - collect->offset;
	uint8_t piece[FRAME_DATA_MAX];
	ssize_t n = read(collect->fd, piece, left < sizeof(piece) ? (size_t)left : sizeof(piece));
	int r;

	if (n < 0)
		return send_error(collect, connection, strerror(errno));
	if (n == 0 && left)
		return send_error(collect, connection, "it is shorter than its size says");
	frame.data = piece;
	frame.len = (size_t)n;
	frame.is_last = (uint64_t)n == left;
	r = connection_send(connection, &frame);
	collect->offset += (uint64_t)n;
	if (frame.is_last)
		next_path(collect);
	return r;
}

int collect_begin(struct collect *collect, const struct frame *frame)
{
	char *at;

	for (size_t i = 0; i < frame->n_paths; i++)
		if (frame->paths[i].len > TASK_MAX_PATH_BYTES)
			return -ENAMETOOLONG;
	at = malloc(frame->n_paths * (TASK_MAX_PATH_BYTES + 1));
	if (!at)
		return -ENOMEM;
	*collect = (struct collect){ .exec = frame->exec, .paths = at, .path = at, .n_paths = frame->n_paths,
				     .limit_bytes = frame->limit_bytes, .fd = -1 };
	for (size_t i = 0; i < frame->n_paths; i++) {
		at = mempcpy(at, frame->paths[i].text, frame->paths[i].len);
		*at++ = '\0';
	}
	return 0;
}

int collect_step(struct collect *collect, struct connection *connection)
{
	int r = 0;

	for (int n = 0; r == 0 && n < PIECES_PER_TURN && collect->n_paths && connection_has_room(connection); n++)
		r = collect->fd < 0 ? open_file(collect, connection) : send_piece(collect, connection);
	if (r < 0 || collect->n_paths)
		return r;
	r = connection_send(connection, &(struct frame){ .type = FRAME_COLLECTED, .exec = collect->exec });
	collect_cancel(collect);
	return r;
}

void collect_cancel(struct collect *collect)
{
	if (!collect->exec)
		return;
	close_fd(&collect->fd);
	free(TAKE_PTR(collect->paths));
	collect->exec = 0;
}
