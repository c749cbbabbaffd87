#include "worker/unfit_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"

static void unfit_path(const struct settings *settings, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/unfit/%s", settings->state_dir, settings->worker);
}

void unfit_mark_make(const struct settings *settings)
{
	char path[PATH_MAX];
	cleanup_fd int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/unfit", settings->state_dir);
	(void)mkdir(path, 0755); /* open() says when it is not there */
	unfit_path(settings, path);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		log_warn("supervisor.unfit", "message=\"make '%s': %s\"", path, strerror(errno));
}

bool unfit_mark_exists(const struct settings *settings)
{
	char path[PATH_MAX];
	struct stat st;

	unfit_path(settings, path);
	return lstat(path, &st) == 0;
}

void unfit_mark_remove(const struct settings *settings)
{
	char path[PATH_MAX];

	unfit_path(settings, path);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn("supervisor.unfit", "message=\"remove '%s': %s\"", path, strerror(errno));
}
