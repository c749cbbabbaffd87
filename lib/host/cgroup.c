#include "host/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

#define ROOT "/sys/fs/cgroup"
#define PERIOD_US 100000u /* of the cpu quota, the kernel's default */
#define POLL_US 2000

static const char *const controllers_v1[] = { "memory", "pids", "cpu" };
static const char *const hierarchy_v2[] = { "" };

static bool has_word(const char *file, const char *word)
{
	cleanup_file FILE *stream = fopen(file, "re");
	char line[512];

	return stream && fgets(line, sizeof(line), stream) && strstr(line, word);
}

int cgroup_version(void)
{
	if (has_word(ROOT "/cgroup.controllers", "memory"))
		return 2;
	return access(ROOT "/memory/cgroup.procs", F_OK) == 0 && access(ROOT "/pids/cgroup.procs", F_OK) == 0 ? 1 : 0;
}

static size_t hierarchies(const char *const **ret)
{
	if (cgroup_version() == 2) {
		*ret = hierarchy_v2;
		return ARRAY_SIZE(hierarchy_v2);
	}
	*ret = controllers_v1;
	return ARRAY_SIZE(controllers_v1);
}

static void join(char out[PATH_MAX], const char *hierarchy, const char *path, const char *file)
{
	(void)snprintf(out, PATH_MAX, ROOT "/%s/%s/%s", hierarchy, path, file); /* names are bounded: host/names.h */
}

static bool is_mounted(const char *hierarchy)
{
	char root[PATH_MAX];

	join(root, hierarchy, "", "cgroup.procs");
	return access(root, F_OK) == 0;
}

static int put(const char *hierarchy, const char *path, const char *file, const char *value, struct err *err)
{
	char full[PATH_MAX];
	cleanup_fd int fd = -1;

	join(full, hierarchy, path, file);
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_set(err, ERR_HOST, errno, "write '%s' to '%s'", value, full);
	return 0;
}

static int put_number(const char *hierarchy, const char *path, const char *file, uint64_t value, struct err *err)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	return put(hierarchy, path, file, text, err);
}

static int make_one(const char *hierarchy, const char *path, struct err *err)
{
	char full[PATH_MAX];

	join(full, hierarchy, path, "");
	if (mkdir(full, 0755) < 0 && errno != EEXIST)
		return err_set(err, ERR_HOST, errno, "make control group '%s'", full);
	return 0;
}

/* The parent is the part before the only slash: mayfly.<host>/vm-<id>. */
static int make_parent(const char *hierarchy, const char *path, bool is_v2, struct err *err)
{
	const char *slash = strchr(path, '/');
	char parent[PATH_MAX];
	int r = 0;

	if (slash) {
		(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		if (is_v2)
			r = put(hierarchy, "", "cgroup.subtree_control", "+memory +pids +cpu", err);
		if (r == 0)
			r = make_one(hierarchy, parent, err);
		if (r == 0 && is_v2)
			r = put(hierarchy, parent, "cgroup.subtree_control", "+memory +pids +cpu", err);
	}
	return r;
}

bool cgroup_exists(const char *path)
{
	const char *const *list;
	char full[PATH_MAX];
	size_t n = hierarchies(&list);

	for (size_t i = 0; i < n; i++) {
		join(full, list[i], path, "");
		if (is_mounted(list[i]) && access(full, F_OK) == 0)
			return true;
	}
	return false;
}

static int make_in(const char *hierarchy, const char *path, bool is_v2, struct err *err)
{
	int r = make_parent(hierarchy, path, is_v2, err);

	return r < 0 ? r : make_one(hierarchy, path, err);
}

/* ENOENT: a kernel without swap accounting. */
static int put_if_there(const char *hierarchy, const char *path, const char *file, uint64_t value, struct err *err)
{
	int r = put_number(hierarchy, path, file, value, err);

	return r == -ENOENT ? 0 : r;
}

static int limit_v2(const char *path, const struct cgroup_limits *limits, struct err *err)
{
	char quota[64];
	int r;

	(void)snprintf(quota, sizeof(quota), "%u %u", limits->cpus * PERIOD_US, PERIOD_US);
	r = put_number("", path, "memory.max", limits->memory_bytes, err);
	if (r == 0)
		r = put_number("", path, "pids.max", limits->pids, err);
	if (r == 0)
		r = put("", path, "cpu.max", quota, err);
	return r < 0 ? r : put_if_there("", path, "memory.swap.max", 0, err);
}

static int limit_v1(const char *path, const struct cgroup_limits *limits, struct err *err)
{
	int r = put_number("memory", path, "memory.limit_in_bytes", limits->memory_bytes, err);

	if (r == 0)
		r = put_if_there("memory", path, "memory.memsw.limit_in_bytes", limits->memory_bytes, err);
	if (r == 0)
		r = put_if_there("memory", path, "memory.swappiness", 0, err);
	if (r == 0)
		r = put_number("pids", path, "pids.max", limits->pids, err);
	if (r == 0 && is_mounted("cpu"))
		r = put_number("cpu", path, "cpu.cfs_period_us", PERIOD_US, err);
	if (r == 0 && is_mounted("cpu"))
		r = put_number("cpu", path, "cpu.cfs_quota_us", (uint64_t)limits->cpus * PERIOD_US, err);
	return r;
}

int cgroup_make(const char *path, const struct cgroup_limits *limits, struct err *err)
{
	int version = cgroup_version();
	const char *const *list;
	size_t n = hierarchies(&list);

	if (!version)
		return err_set(err, ERR_HOST, 0, "neither cgroup v2 nor v1 offers memory and pids below " ROOT);
	if (cgroup_exists(path))
		return err_set(err, ERR_BUG, EEXIST, "control group '%s' is there already: a name is used once", path);
	for (size_t i = 0; i < n; i++) {
		int r = is_mounted(list[i]) ? make_in(list[i], path, version == 2, err) : 0;

		if (r < 0)
			return r;
	}
	return version == 2 ? limit_v2(path, limits, err) : limit_v1(path, limits, err);
}

int cgroup_let_remove(const char *path, gid_t gid, struct err *err)
{
	const char *slash = strchr(path, '/');
	char parent[NAME_MAX + 1], full[PATH_MAX]; /* one name: host/names.h */
	const char *const *list;
	size_t n = hierarchies(&list);

	(void)snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 0, path);
	for (size_t i = 0; slash && i < n; i++) {
		join(full, list[i], parent, "");
		if (is_mounted(list[i]) && (chown(full, 0, gid) < 0 || chmod(full, 0775) < 0))
			return err_set(err, ERR_HOST, errno, "let guards remove what is in control group '%s'", full);
	}
	return 0;
}

int cgroup_enter(const char *path, struct err *err)
{
	const char *const *list;
	size_t n = hierarchies(&list);

	for (size_t i = 0; i < n; i++) {
		int r = is_mounted(list[i]) ? put(list[i], path, "cgroup.procs", "0", err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

bool cgroup_has_oom_kill(const char *path)
{
	bool is_v2 = cgroup_version() == 2;
	char full[PATH_MAX], line[128];
	cleanup_file FILE *stream = NULL;
	unsigned long count;

	join(full, is_v2 ? "" : "memory", path, is_v2 ? "memory.events" : "memory.oom_control");
	stream = fopen(full, "re");
	while (stream && fgets(line, sizeof(line), stream))
		if (sscanf(line, "oom_kill %lu", &count) == 1)
			return count > 0;
	return false;
}

static int read_usage(const char *hierarchy, const char *path, const char *file, uint64_t *ret_bytes, struct err *err)
{
	char full[PATH_MAX];
	cleanup_file FILE *stream = NULL;

	join(full, hierarchy, path, file);
	stream = fopen(full, "re");
	if (!stream || fscanf(stream, "%" SCNu64, ret_bytes) != 1)
		return err_set(err, ERR_HOST, stream ? EBADMSG : errno, "read '%s'", full);
	return 0;
}

/* Pages of files; of a memfd they are none. */
static uint64_t read_file_pages(const char *hierarchy, const char *path)
{
	char full[PATH_MAX], line[128], name[64];
	cleanup_file FILE *stream = NULL;
	uint64_t bytes, sum = 0;

	join(full, hierarchy, path, "memory.stat");
	stream = fopen(full, "re");
	while (stream && fgets(line, sizeof(line), stream))
		if (sscanf(line, "%63s %" SCNu64, name, &bytes) == 2 &&
		    (strcmp(name, "inactive_file") == 0 || strcmp(name, "active_file") == 0))
			sum += bytes;
	return sum;
}

int cgroup_memory(const char *path, uint64_t *ret_bytes, struct err *err)
{
	bool is_v2 = cgroup_version() == 2;
	const char *hierarchy = is_v2 ? "" : "memory";
	uint64_t used, files;
	int r = read_usage(hierarchy, path, is_v2 ? "memory.current" : "memory.usage_in_bytes", &used, err);

	if (r < 0)
		return r;
	files = read_file_pages(hierarchy, path);
	*ret_bytes = used > files ? used - files : 0;
	return 0;
}

static bool is_member(const char *procs, int pid)
{
	cleanup_file FILE *stream = fopen(procs, "re");
	int member;

	while (stream && fscanf(stream, "%d", &member) == 1)
		if (member == pid)
			return true;
	return false;
}

/* A number may be somebody else's by the time it is signalled, a descriptor cannot: it is opened first and the membership
 * looked at again. One that is gone already is what we want. */
static void kill_member(const char *procs, int pid)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd >= 0 && is_member(procs, pid))
		(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/* How many processes were there to be killed. `kill_fd` takes them all at once, those of other pid namespaces too. */
static size_t kill_all(const char *hierarchy, const char *path, int kill_fd)
{
	ssize_t killed;
	cleanup_file FILE *stream = NULL;
	char procs[PATH_MAX];
	size_t n = 0;
	int pid;

	join(procs, hierarchy, path, "cgroup.procs");
	stream = fopen(procs, "re");
	while (stream && fscanf(stream, "%d", &pid) == 1) {
		if (kill_fd < 0 && pid > 0) /* 0: of another pid namespace */
			kill_member(procs, pid);
		n++;
	}
	if (kill_fd < 0 || !n)
		return n;
	killed = write(kill_fd, "1", 1);
	(void)killed; /* the next round sees what is left */
	return n;
}

static bool remove_group(const char *hierarchy, const char *path)
{
	char full[PATH_MAX];

	join(full, hierarchy, path, "");
	return rmdir(full) == 0 || errno == ENOENT;
}

int cgroup_open_kill(const char *path)
{
	char full[PATH_MAX];

	if (cgroup_version() != 2)
		return -1;
	join(full, "", path, "cgroup.kill"); /* not in kernels before 5.14 */
	return open(full, O_WRONLY | O_CLOEXEC);
}

int cgroup_destroy(const char *path, unsigned timeout_ms, struct err *err)
{
	cleanup_fd int kill_fd = cgroup_open_kill(path);

	return cgroup_destroy_by(path, kill_fd, timeout_ms, err);
}

int cgroup_destroy_by(const char *path, int kill_fd, unsigned timeout_ms, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	const char *const *list;
	size_t n = hierarchies(&list);

	for (;;) {
		size_t left = 0;
		bool is_gone = true;

		for (size_t i = 0; i < n; i++)
			left += kill_all(list[i], path, kill_fd);
		/* The first, in which cgroup_each() looks, last: what is half removed is still found. */
		for (size_t i = n; i > 0 && left == 0 && is_gone; i--)
			is_gone = remove_group(list[i - 1], path);
		if (left == 0 && is_gone)
			return 0;
		if (clock_mono_ms() >= deadline)
			return left ? err_set(err, ERR_HOST, ETIMEDOUT,
					      "%zu processes of control group '%s' do not die", left, path) :
				      err_set(err, ERR_HOST, EBUSY,
					      "control group '%s' is empty and cannot be removed; look for groups below it", path);
		(void)usleep(POLL_US);
	}
}

int cgroup_each(const char *path, int (*visit)(void *ctx, const char *name), void *ctx, struct err *err)
{
	const char *const *list;
	char full[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	(void)hierarchies(&list);
	join(full, list[0], path, "");
	dir = opendir(full);
	if (!dir)
		return errno == ENOENT ? 0 : err_set(err, ERR_HOST, errno, "list '%s'", full);
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			r = visit(ctx, entry->d_name);
	(void)closedir(dir);
	return r;
}
