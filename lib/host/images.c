#include "host/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"

#define LIST_MAX_BYTES (256 * 1024) /* of one image's programs: ten thousand names */
#define IMAGES_MAX     256	    /* that are looked into */
#define NAMED_MAX      3

/* The list of an image as text that begins and ends with a newline; NULL when there is none. The caller frees it. */
static char *read_list(int dir_fd, const char *image)
{
	char path[IDENT_IMAGE_MAX + sizeof("/" NAMES_PROGRAMS)];
	cleanup_fd int fd = -1;
	struct stat stat;
	char *text;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%.*s/" NAMES_PROGRAMS, IDENT_IMAGE_MAX, image);
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size > LIST_MAX_BYTES)
		return NULL;
	text = malloc((size_t)stat.st_size + 3);
	if (!text)
		return NULL;
	n = read(fd, text + 1, (size_t)stat.st_size);
	text[0] = '\n';
	(void)snprintf(text + 1 + (n > 0 ? n : 0), 2, "\n");
	return text;
}

static bool has_program(int dir_fd, const char *image, const char *line)
{
	cleanup_free char *list = read_list(dir_fd, image);

	return list && strstr(list, line);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_names(char **names, size_t n, char *out, size_t size)
{
	size_t used = 0;

	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n && i < NAMED_MAX && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", names[i]);
	if (n > NAMED_MAX && used < size)
		(void)snprintf(out + used, size - used, " and others");
}

static size_t find_images(DIR *dir, const char *line, char *names[IMAGES_MAX])
{
	struct dirent *entry;
	size_t n = 0, seen = 0;

	while (n < IMAGES_MAX && seen++ < IMAGES_MAX && (entry = readdir(dir)))
		if (ident_is_image(entry->d_name, strlen(entry->d_name)) && has_program(dirfd(dir), entry->d_name, line) &&
		    (names[n] = strdup(entry->d_name)))
			n++;
	return n;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool has_rootfs(int dir_fd, const char *image)
{
	char path[IDENT_IMAGE_MAX + sizeof("/" NAMES_ROOTFS)];

	(void)snprintf(path, sizeof(path), "%.*s/" NAMES_ROOTFS, IDENT_IMAGE_MAX, image);
	return faccessat(dir_fd, path, F_OK, 0) == 0;
}

size_t images_list(const struct host_place *place, char names[][IDENT_IMAGE_MAX + 1], size_t max)
{
	char path[PATH_MAX];
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	size_t n = 0;

	names_images_dir(place, path);
	dir = opendir(path);
	while (dir && n < max && (entry = readdir(dir)))
		if (ident_is_image(entry->d_name, strlen(entry->d_name)) && has_rootfs(dirfd(dir), entry->d_name))
			(void)snprintf(names[n++], sizeof(names[0]), "%.*s", IDENT_IMAGE_MAX, entry->d_name); /* an ident */
	qsort(names, n, sizeof(names[0]), by_text);
	return n;
}

void images_with(const struct host_place *place, const char *program, char *out, size_t size)
{
	char path[PATH_MAX], line[NAME_MAX + 3], *names[IMAGES_MAX];
	cleanup_dir DIR *dir = NULL;
	size_t n;

	out[0] = '\0';
	if (!program[0] || strchr(program, '\n'))
		return;
	names_images_dir(place, path);
	dir = opendir(path);
	if (!dir)
		return;
	(void)snprintf(line, sizeof(line), "\n%.*s\n", NAME_MAX, program);
	n = find_images(dir, line, names);
	list_names(names, n, out, size);
	while (n)
		free(names[--n]);
}

void images_stamp(const struct host_place *place, const char *image, struct image_stamp *ret)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];
	struct stat stat;

	memset(ret, 0, sizeof(*ret));
	names_images_dir(place, dir);
	(void)snprintf(path, sizeof(path), "%s/%.*s/" NAMES_ROOTFS, dir, IDENT_IMAGE_MAX, image); /* an ident */
	if (lstat(path, &stat) < 0)
		return;
	ret->dev = stat.st_dev;
	ret->ino = stat.st_ino;
	ret->size = (uint64_t)stat.st_size;
	ret->mtime_ns = (uint64_t)stat.st_mtim.tv_sec * 1000000000 + (uint64_t)stat.st_mtim.tv_nsec;
}
