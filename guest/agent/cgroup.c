#include "guest/agent/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/kernel_file.h"

#define PROCESSES_MAX "512" /* of one program: enough for a parallel build; a fork bomb stops here */
#define CONTROLLERS   "+memory +pids +cpu"
#define FILE_BYTES    4096 /* memory.stat, the longest, has 1.5 KB */
#define PATH_BYTES    128

static void path_of(const struct cgroup *cgroup, const char *file, char path[PATH_BYTES])
{
	(void)snprintf(path, PATH_BYTES, "%s/%s", cgroup->path, file);
}

int cgroup_write(const struct cgroup *cgroup, const char *file, const char *text)
{
	char path[PATH_BYTES];

	path_of(cgroup, file, path);
	return write_file(path, text);
}

int cgroup_open(const struct cgroup *cgroup, const char *file)
{
	char path[PATH_BYTES];
	int fd;

	path_of(cgroup, file, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_prepare(struct cgroup *programs, struct err *err)
{
	int r = write_file(CGROUP_ROOT "/cgroup.subtree_control", CONTROLLERS);

	(void)snprintf(programs->path, sizeof(programs->path), CGROUP_ROOT CGROUP_PROGRAMS);
	if (r == 0 && mkdir(programs->path, 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0)
		r = cgroup_write(programs, "cgroup.subtree_control", CONTROLLERS);
	return r < 0 ? err_set(err, ERR_HOST, -r, "make the cgroup of all programs") : 0;
}

int cgroup_make(struct cgroup *cgroup, uint32_t exec, struct err *err)
{
	int r = 0;

	(void)snprintf(cgroup->path, sizeof(cgroup->path), CGROUP_ROOT CGROUP_PROGRAMS "/%" PRIu32, exec);
	if (mkdir(cgroup->path, 0755) < 0) {
		r = err_set(err, ERR_HOST, errno, "make the program's cgroup");
		cgroup->path[0] = '\0';
		return r;
	}
	r = cgroup_write(cgroup, "pids.max", PROCESSES_MAX);
	return r < 0 ? err_set(err, ERR_HOST, -r, "limit the number of the program's processes") : 0;
}

void cgroup_remove(struct cgroup *cgroup)
{
	if (cgroup->path[0])
		(void)rmdir(cgroup->path); /* if it stays, it is empty, and its number is not used again */
	cgroup->path[0] = '\0';
}

void cgroup_kill(const struct cgroup *cgroup)
{
	if (cgroup->path[0])
		(void)cgroup_write(cgroup, "cgroup.kill", "1"); /* cannot fail while it exists */
}

bool cgroup_is_populated(const struct cgroup *cgroup)
{
	return cgroup_number(cgroup, "cgroup.events", "populated") != 0;
}

uint32_t cgroup_of_process(int pid)
{
	char path[PATH_BYTES], text[128];
	uint32_t exec = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (read_file(path, text, sizeof(text)) < 0)
		return 0;
	return sscanf(text, "0::" CGROUP_PROGRAMS "/%" SCNu32, &exec) == 1 ? exec : 0;
}

uint64_t cgroup_number(const struct cgroup *cgroup, const char *file, const char *key)
{
	char path[PATH_BYTES], text[FILE_BYTES], line[64];
	unsigned long long number = 0;
	const char *at;

	path_of(cgroup, file, path);
	(void)snprintf(line, sizeof(line), "\n%s%s", key ? key : "", key ? " " : "");
	text[0] = '\n'; /* so that the first key is found like the others */
	if (read_file(path, text + 1, sizeof(text) - 1) < 0)
		return 0;
	at = strstr(text, line);
	return at && sscanf(at + strlen(line), "%llu", &number) == 1 ? number : 0;
}

/* The kernel's own opinion (proc(5)), 0 when the process is gone. */
static long oom_score(int pid)
{
	char path[PATH_BYTES], text[32];
	long score = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score", pid);
	return read_file(path, text, sizeof(text)) == 0 && sscanf(text, "%ld", &score) == 1 ? score : 0;
}

static void name_of(int pid, char name[16])
{
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(path, name, 16) < 0)
		name[0] = '\0';
}

struct cgroup_process cgroup_largest(const struct cgroup *cgroup)
{
	struct cgroup_process largest = { .score = -1 };
	cleanup_file FILE *procs = NULL;
	char path[PATH_BYTES];
	int pid;

	path_of(cgroup, "cgroup.procs", path);
	procs = fopen(path, "re");
	while (procs && fscanf(procs, "%d", &pid) == 1) {
		long score = oom_score(pid);

		if (score > largest.score)
			largest = (struct cgroup_process){ .pid = pid, .score = score };
	}
	if (largest.pid)
		name_of(largest.pid, largest.name);
	return largest;
}
