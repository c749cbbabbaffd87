#include "tests/support/vmm_jail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

pid_t vmm_jail_pid(const struct host_place *place, const char *vm_id)
{
	char group[PATH_MAX], path[PATH_MAX + 64];
	cleanup_file FILE *stream = NULL;
	int pid = 0;

	names_cgroup(place, vm_id, group);
	for (const char *const *root = (const char *const[]){ "memory/", "", NULL }; *root && !stream; root++) {
		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/cgroup.procs", *root, group);
		stream = fopen(path, "re");
	}
	assert_true(stream && fscanf(stream, "%d", &pid) == 1);
	return pid;
}

static void append_lines(char *out, size_t size, const char *path, const char *const *starts)
{
	cleanup_file FILE *stream = fopen(path, "re");
	char line[1024];

	assert_non_null(stream);
	while (fgets(line, sizeof(line), stream))
		for (const char *const *start = starts; *start; start++)
			if (strncmp(line, *start, strlen(*start)) == 0)
				(void)snprintf(out + strlen(out), size - strlen(out), "%s", line);
}

/* Mounts without their numbers and devices, which each namespace has anew: "36 35 98:0 /root /point options - type ..." */
static void append_mounts(char *out, size_t size, const char *path)
{
	cleanup_file FILE *stream = fopen(path, "re");
	char line[1024], root[256], point[256], options[256], type[64];

	assert_non_null(stream);
	while (fgets(line, sizeof(line), stream))
		if (sscanf(line, "%*d %*d %*s %255s %255s %255s - %63s", root, point, options, type) == 4)
			(void)snprintf(out + strlen(out), size - strlen(out), "%s %s %s %s\n", root, point, options, type);
}

void vmm_jail_describe(pid_t pid, char *out, size_t size)
{
	static const char *const status[] = { "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:", "THP_enabled:", NULL };
	static const char *const limits[] = { "Max", NULL };
	static const char *const namespaces[] = { "mnt", "pid", "net", "ipc", "uts", "cgroup", NULL };
	char path[64], mine[64], its[64];

	out[0] = '\0';
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	append_lines(out, size, path, status);
	(void)snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	append_lines(out, size, path, limits);
	(void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	append_mounts(out, size, path);
	for (const char *const *name = namespaces; *name; name++) {
		memset(mine, 0, sizeof(mine));
		memset(its, 0, sizeof(its));
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", *name);
		assert_true(readlink(path, mine, sizeof(mine) - 1) > 0);
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, *name);
		assert_true(readlink(path, its, sizeof(its) - 1) > 0);
		(void)snprintf(out + strlen(out), size - strlen(out), "%s %s\n", *name, strcmp(mine, its) ? "of its own" : "the host's");
	}
}

void vmm_jail_expect_files(pid_t pid, const char *const *allowed)
{
	char path[64], target[256];

	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;
		bool is_allowed = false;

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0 || target[0] != '/')
			continue;
		target[n] = '\0';
		for (const char *const *name = allowed; *name; name++)
			is_allowed |= strstr(target, *name) != NULL;
		if (!is_allowed)
			fail_msg("a VMM has %s as descriptor %d", target, fd);
	}
}
