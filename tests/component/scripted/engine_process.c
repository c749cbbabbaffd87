#include "tests/component/scripted/engine_process.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"

#define LINE_MAX_BYTES 4096 /* of the log */
#define FIRST_FD       10   /* of the three that it gets */
#define UNIX_LIST_BYTES (1u << 20) /* of the host's Unix sockets, ~60 each */

static void write_settings(const struct engine_process *process, const struct engine_process_config *config)
{
	cleanup_file FILE *f = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/worker.conf", process->folder);
	f = fopen(path, "we");
	assert(f);
	(void)fprintf(f,
		      "brokers = %s\ntopic_prefix = %s\ngroup = %s\nredis_port = %u\nhost = scripted\nworker = scripted\n"
		      "state_dir = %s\nlibexec_dir = %s\npartitions = 1\nslots = %u\nmemory_mib = 1000000\n"
		      "disk_mib = 1000000\nboot_ms = 2000\nallow_emulation = yes\nlog_level = debug\nclones = %s\n"
		      "template_memory_mib = 1000000\n",
		      config->brokers, config->prefix, config->prefix, config->redis_port, process->folder, process->folder,
		      config->slots, config->has_clones ? "yes" : "no");
}

void engine_process_start(const struct engine_process_config *config, struct engine_process *ret)
{
	char conf[PATH_MAX], log[PATH_MAX];
	char *argv[] = { "engine-only", conf, "10", "11", "12", NULL };
	const int fds[] = { config->supervisor_fd, config->disk_lane_fd, config->vmm_lane_fd };
	posix_spawn_file_actions_t actions;

	*ret = (struct engine_process){ .folder = "/tmp/scripted-XXXXXX" };
	assert(mkdtemp(ret->folder));
	write_settings(ret, config);
	(void)snprintf(conf, sizeof(conf), "%s/worker.conf", ret->folder);
	(void)snprintf(log, sizeof(log), "%s/engine.log", ret->folder);
	assert(posix_spawn_file_actions_init(&actions) == 0);
	assert(posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert(posix_spawn_file_actions_adddup2(&actions, fds[i], FIRST_FD + (int)i) == 0);
	assert(posix_spawn(&ret->pid, ENGINE_ONLY, &actions, NULL, argv, environ) == 0);
	(void)posix_spawn_file_actions_destroy(&actions); /* always 0 */
}

bool engine_process_has_ended(struct engine_process *process)
{
	if (process->pid && waitpid(process->pid, &process->status, WNOHANG) == process->pid)
		process->pid = 0;
	return process->pid == 0;
}

void engine_process_terminate(const struct engine_process *process)
{
	if (process->pid)
		(void)kill(process->pid, SIGTERM); /* our child, not waited for */
}

/* `visit` is asked about what each of its descriptors is; how often it said yes. */
static size_t count_fds(const struct engine_process *process, bool (*visit)(const char *target, const void *ctx), const void *ctx)
{
	char path[64], target[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *folder;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", process->pid);
	folder = opendir(path);
	assert(folder);
	while ((entry = readdir(folder))) {
		ssize_t len = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		n += visit(target, ctx);
	}
	(void)closedir(folder);
	return n;
}

static bool has_name(const char *target, const void *name)
{
	return strstr(target, name);
}

bool engine_process_has_open(const struct engine_process *process, const char *name)
{
	return count_fds(process, has_name, name);
}

/* `list` is /proc/net/unix, where the inode stands between spaces or at the end of a line. */
static bool is_unix_socket(const char *target, const void *list)
{
	unsigned long inode;
	char end, word[32];

	if (sscanf(target, "socket:[%lu]%c", &inode, &end) != 1)
		return false;
	(void)snprintf(word, sizeof(word), " %lu\n", inode);
	if (strstr(list, word))
		return true;
	(void)snprintf(word, sizeof(word), " %lu ", inode);
	return strstr(list, word);
}

size_t engine_process_sockets(const struct engine_process *process)
{
	static char list[UNIX_LIST_BYTES];
	cleanup_file FILE *f = fopen("/proc/net/unix", "re");
	size_t len;

	assert(f);
	len = fread(list, 1, sizeof(list) - 1, f);
	assert(len < sizeof(list) - 1);
	list[len] = '\0';
	return count_fds(process, is_unix_socket, list);
}

static void show_log(const struct engine_process *process)
{
	cleanup_file FILE *f = NULL;
	char line[LINE_MAX_BYTES];

	(void)snprintf(line, sizeof(line), "%s/engine.log", process->folder);
	f = fopen(line, "re");
	while (f && fgets(line, sizeof(line), f))
		(void)fputs(line, stderr);
	(void)fprintf(stderr, "%s has it, too\n", process->folder);
}

static void remove_folder(const struct engine_process *process)
{
	static const char *const names[] = { "/worker.conf", "/engine.log", "" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", process->folder, names[i]);
		(void)remove(path); /* what is left says so by being there */
	}
}

void engine_process_clear(struct engine_process *process, bool is_shown)
{
	if (process->pid) {
		(void)kill(process->pid, SIGKILL); /* our child, not waited for */
		(void)waitpid(process->pid, NULL, 0);
	}
	process->pid = 0;
	if (is_shown)
		show_log(process);
	else
		remove_folder(process);
}
