#include "guest/agent/cgroup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/boot.h"

#define PROCESSES_MAX "512" /* enough for a parallel build; a fork bomb stops here */
#define FILE_BYTES    4096  /* memory.stat, the longest, has 1.5 KB */

int cgroup_make(struct err *err)
{
	int r = write_file(CGROUP_ROOT "/cgroup.subtree_control", "+memory +pids +cpu");

	if (r < 0)
		return err_set(err, ERR_HOST, -r, "turn on the cgroup controllers");
	if (mkdir(CGROUP_TASK, 0755) < 0)
		return err_set(err, ERR_HOST, errno, "make the program's cgroup");
	r = write_file(CGROUP_TASK "/pids.max", PROCESSES_MAX);
	return r < 0 ? err_set(err, ERR_HOST, -r, "limit the number of the program's processes") : 0;
}

void cgroup_remove(void)
{
	(void)rmdir(CGROUP_TASK);
}

void cgroup_kill(void)
{
	/* Should the cgroup not obey: from PID 1 this reaches every process but itself. */
	if (write_file(CGROUP_TASK "/cgroup.kill", "1") < 0)
		(void)kill(-1, SIGKILL);
}

bool cgroup_is_populated(void)
{
	return cgroup_number("cgroup.events", "populated") != 0;
}

uint64_t cgroup_number(const char *file, const char *key)
{
	char path[128], text[FILE_BYTES], line[64];
	unsigned long long number = 0;
	const char *at;

	(void)snprintf(path, sizeof(path), CGROUP_TASK "/%s", file);
	(void)snprintf(line, sizeof(line), "\n%s ", key);
	text[0] = '\n'; /* so that the first key is found like the others */
	if (read_file(path, text + 1, sizeof(text) - 1) < 0)
		return 0;
	at = strstr(text, line);
	return at && sscanf(at + strlen(line), "%llu", &number) == 1 ? number : 0;
}

uint64_t cgroup_tasks(void)
{
	unsigned long long tasks = 0;
	char text[32];

	if (read_file(CGROUP_TASK "/pids.current", text, sizeof(text)) < 0)
		return 0;
	return sscanf(text, "%llu", &tasks) == 1 ? tasks : 0;
}

/* The kernel's own opinion (proc(5)), 0 when the process is gone. */
static long oom_score(int pid)
{
	char path[64], text[32];
	long score = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score", pid);
	return read_file(path, text, sizeof(text)) == 0 && sscanf(text, "%ld", &score) == 1 ? score : 0;
}

static void name_of(int pid, char name[16])
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(path, name, 16) < 0)
		name[0] = '\0';
}

int cgroup_largest(char name[16])
{
	cleanup_file FILE *procs = fopen(CGROUP_TASK "/cgroup.procs", "re");
	long largest_score = -1;
	int pid, largest = 0;

	while (procs && fscanf(procs, "%d", &pid) == 1) {
		long score = oom_score(pid);

		if (score <= largest_score)
			continue;
		largest = pid;
		largest_score = score;
	}
	if (largest)
		name_of(largest, name);
	return largest;
}
