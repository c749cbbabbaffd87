/* Ends the private stack (tools/stack.h): its parts in the order in which they need each other, then an audit. What is
 * left of microVMs after that is removed by the same destroyers as worker and reaper have, and a line says so. */
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "host/cgroup.h"
#include "host/disk/disk.h"
#include "host/vm.h"
#include "lane/workspaces.h"
#include "tools/screen.h"
#include "tools/stack.h"

#define KILL_MS	  5000
#define CGROUP_MS 10000
#define NFTW_FDS  16

/* Longest that each may take to end by itself. The worker's is its drain_ms, a transaction and some for a busy host. */
static const unsigned end_ms[] = {
	[STACK_PART_KAFKA] = 30000, [STACK_PART_REDIS] = 10000, [STACK_PART_WORKER] = 60000, [STACK_PART_REAPER] = 20000
};

static void on_tick(void *ctx)
{
	screen_step_tick(ctx);
}

static bool end_daemon(const struct daemon *daemon, const char *verb, unsigned timeout_ms)
{
	struct screen_step step;
	char what[64];
	bool is_clean;

	if (!daemon_find(daemon, NULL)) {
		daemon_forget(daemon);
		return true;
	}
	(void)snprintf(what, sizeof(what), "%s %s", verb, daemon->name);
	screen_step_begin(&step, what);
	is_clean = daemon_end(daemon, SIGTERM, timeout_ms, on_tick, &step);
	if (!is_clean && !daemon_end(daemon, SIGKILL, KILL_MS, on_tick, &step)) {
		(void)snprintf(what, sizeof(what), "%s cannot be ended", daemon->name);
		screen_step_end(&step, what, false);
		return false;
	}
	(void)snprintf(what, sizeof(what), is_clean ? "%s ended" : "%s was killed: it did not end by itself",
		       daemon->name);
	screen_step_end(&step, what, is_clean);
	daemon_forget(daemon);
	return is_clean;
}

struct sweep {
	const struct stack *stack;
	size_t n_left;
};

static int remove_workspace(void *ctx, const char *vm_id)
{
	struct sweep *sweep = ctx;
	struct err err = { 0 };
	int r = vm_destroy(&sweep->stack->place, vm_id, &err);

	sweep->n_left++;
	if (disk_erase(&sweep->stack->place, vm_id, r < 0 ? NULL : &err) < 0 || r < 0)
		(void)fprintf(stderr, "mayfly dev: something of workspace %s is left: %s\n", vm_id, err.msg);
	else
		(void)fprintf(stderr, "mayfly dev: something of workspace %s was left; removed\n", vm_id);
	return 0;
}

/* Answers whether nothing had to be removed. */
static bool sweep_host(const struct stack *stack)
{
	struct sweep sweep = { .stack = stack };
	char parent[PATH_MAX];
	struct err err = { 0 };

	if (workspaces_each(&stack->place, remove_workspace, &sweep, &err) < 0)
		(void)fprintf(stderr, "mayfly dev: look for what is left: %s\n", err.msg);
	names_cgroup_parent(&stack->place, parent);
	if (cgroup_destroy(parent, CGROUP_MS, &err) < 0) {
		(void)fprintf(stderr, "mayfly dev: %s\n", err.msg);
		sweep.n_left++;
	}
	return sweep.n_left == 0;
}

/* Does this process belong to a microVM of this stack? Guard and VMM carry its control group on their command line. */
static bool carries_name(const char *pid, const char *mark)
{
	char path[300], line[4096];
	cleanup_file FILE *file = NULL;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	file = fopen(path, "re");
	n = file ? fread(line, 1, sizeof(line), file) : 0;
	return n && memmem(line, n, mark, strlen(mark));
}

static bool has_processes(const struct stack *stack)
{
	cleanup_dir DIR *proc = opendir("/proc");
	char mark[IDENT_ID_MAX + 16];
	struct dirent *entry;
	bool is_found = false;

	(void)snprintf(mark, sizeof(mark), "mayfly.%s/", stack->place.host);
	while (proc && (entry = readdir(proc))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !carries_name(entry->d_name, mark))
			continue;
		(void)fprintf(stderr, "mayfly dev: process %s of a microVM is left\n", entry->d_name);
		is_found = true;
	}
	return is_found;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static bool remove_tree(const struct stack *stack, const char *name)
{
	char path[PATH_MAX];

	stack_path(stack, name, path);
	if (access(path, F_OK) < 0 || nftw(path, remove_entry, NFTW_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
		return true;
	(void)fprintf(stderr, "mayfly dev: remove '%s': %s\n", path, strerror(errno));
	return false;
}

/* By name, never the whole directory: it may be a folder that holds other things. */
static bool remove_files(const struct stack *stack, bool is_all)
{
	static const char *const data[] = { "kafka/data",  "kafka/tmp",	  "kafka/server.properties",
					    "redis",	   "scratch",	  "log",
					    "worker.conf", "reaper.conf", "run",
					    "unfit" };
	static const char *const caches[] = { "kafka", "images", "kernel",	"jail", "blank",
					      "cache", "accel",	 ".build.lock", "" };
	bool is_gone = true;

	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		is_gone &= remove_tree(stack, data[i]);
	for (size_t i = 0; is_all && i + 1 < ARRAY_SIZE(caches); i++)
		is_gone &= remove_tree(stack, caches[i]);
	if (is_all && rmdir(stack->place.state_dir) < 0 && errno != ENOENT)
		(void)fprintf(stderr, "mayfly dev: '%s' stays: it holds other things\n", stack->place.state_dir);
	return is_gone;
}

bool stack_stop(struct stack *stack, bool is_all)
{
	static const enum stack_part order[] = { STACK_PART_WORKER, STACK_PART_REAPER, STACK_PART_REDIS,
						 STACK_PART_KAFKA };
	bool is_clean = end_daemon(&stack->keeper, "ending", KILL_MS), is_swept; /* first, or it would start them again */

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		is_clean &= end_daemon(&stack->parts[order[i]], order[i] == STACK_PART_WORKER ? "draining" : "ending",
				       end_ms[order[i]]);
	is_swept = sweep_host(stack);
	is_clean &= !has_processes(stack) && is_swept;
	if (!is_clean)
		(void)fprintf(
			stderr,
			"mayfly dev: the end was not clean; logs stay in %s/log until the next `mayfly dev stop`\n",
			stack->place.state_dir);
	return (!is_clean || remove_files(stack, is_all)) && is_clean;
}
