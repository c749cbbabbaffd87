#include "host/vm.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/cgroup.h"

#define GUARD_MAX_ARGS 96
#define DESTROY_MS 10000
#define OLD_PROBE_MS 300 /* each, before a host is listed: one that does not die must not keep that from being done */
#define PROBE_SLACK_MS (2 * DESTROY_MS) /* for the guard to end it after its deadline */
#define GUARD_SOCKET_FD 3 /* in the guard; the VMM's follow it */
#define HIGH_FD 200   /* above anything that has a place to go */

struct guard_args {
	char memory[16], cpus[16], threads[16], uid[16], file[16], deadline[24], limit[24];
	char guard[PATH_MAX], jail[PATH_MAX], root[PATH_MAX], cgroup[PATH_MAX];
	const char *list[GUARD_MAX_ARGS];
	size_t n;
};

static void add_arg(struct guard_args *args, const char *text)
{
	assert(args->n < GUARD_MAX_ARGS - 1);
	args->list[args->n++] = text;
	args->list[args->n] = NULL;
}

static void fill_args(struct guard_args *args, const struct host_place *place, const char *libexec_dir,
		      const struct vm_plan *plan)
{
	(void)snprintf(args->memory, sizeof(args->memory), "%u", plan->memory_mib + plan->shared_mib + plan->jail->overhead_mib);
	(void)snprintf(args->cpus, sizeof(args->cpus), "%u", plan->cpus);
	(void)snprintf(args->uid, sizeof(args->uid), "%u", plan->uid);
	(void)snprintf(args->file, sizeof(args->file), "%u", plan->file_mib);
	(void)snprintf(args->deadline, sizeof(args->deadline), "%" PRIu64, plan->deadline_boot_ms);
	(void)snprintf(args->threads, sizeof(args->threads), "%u", plan->jail->threads + plan->cpus);
	(void)snprintf(args->limit, sizeof(args->limit), "%" PRIu64, plan->limit_boot_ms);
	(void)snprintf(args->guard, sizeof(args->guard), "%s/mayfly-guard", libexec_dir);
	(void)snprintf(args->jail, sizeof(args->jail), "%s/mayfly-jail", libexec_dir);
	names_jail_root(place, args->root);
	names_cgroup(place, plan->id, args->cgroup);
	args->n = 0;
	add_arg(args, args->guard);
	add_arg(args, args->cgroup);
	add_arg(args, args->memory);
	add_arg(args, args->cpus);
	add_arg(args, args->threads);
	add_arg(args, args->deadline);
	add_arg(args, args->limit);
	add_arg(args, args->jail);
	add_arg(args, args->root);
	add_arg(args, args->uid);
	add_arg(args, plan->jail->name);
	add_arg(args, plan->needs_kvm ? "kvm" : "-");
	add_arg(args, args->file);
	for (const char *const *arg = plan->argv; *arg; arg++)
		add_arg(args, *arg);
}

/* Every descriptor first goes high, so that putting one in its place never overwrites another. */
static int place_fds(posix_spawn_file_actions_t *actions, const int *fds, unsigned n, int *high)
{
	for (unsigned i = 0; i < n; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (high[i] < 0)
			return -errno;
		if (posix_spawn_file_actions_adddup2(actions, high[i], GUARD_SOCKET_FD + (int)i) != 0)
			return -ENOMEM;
	}
	return 0;
}

static int spawn_guard(const struct guard_args *args, const int *fds, unsigned n_fds, struct err *err)
{
	static char *const environment[] = { NULL };
	int high[VM_MAX_FDS + 1];
	posix_spawn_file_actions_t actions;
	char *argv[GUARD_MAX_ARGS];
	pid_t pid;
	int code;

	for (size_t i = 0; i <= args->n; i++)
		argv[i] = (char *)(uintptr_t)args->list[i];
	if (posix_spawn_file_actions_init(&actions) != 0)
		return err_set(err, ERR_HOST, ENOMEM, "start a guard");
	memset(high, 0xff, sizeof(high));
	code = -place_fds(&actions, fds, n_fds, high);
	if (code == 0)
		code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
	if (code == 0)
		code = posix_spawn_file_actions_adddup2(&actions, 0, 1);
	/* One that we inherited and that happens to come next would be taken for the VMM's. */
	if (code == 0)
		code = posix_spawn_file_actions_addclosefrom_np(&actions, GUARD_SOCKET_FD + (int)n_fds);
	if (code == 0)
		code = posix_spawn(&pid, argv[0], &actions, NULL, argv, environment);
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&high[i]);
	(void)posix_spawn_file_actions_destroy(&actions); /* always succeeds on Linux */
	return code ? err_set(err, ERR_HOST, code, "start '%s'", argv[0]) : 0;
}

int vm_spawn(const struct host_place *place, const char *libexec_dir, const struct vm_plan *plan, int *ret_guard_fd,
	     struct err *err)
{
	struct guard_args *args;
	int fds[VM_MAX_FDS + 1];
	char group[PATH_MAX];
	int pair[2];
	int r;

	assert(plan->n_fds <= VM_MAX_FDS);
	names_cgroup(place, plan->id, group);
	if (cgroup_exists(group))
		return err_set(err, ERR_BUG, EEXIST, "microVM '%s' is there already: a name is used once", plan->id);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, ERR_HOST, errno, "a socket for the guard");
	args = malloc(sizeof(*args));
	if (!args) {
		close_fd(&pair[0]);
		close_fd(&pair[1]);
		return err_set(err, ERR_HOST, ENOMEM, "start a guard");
	}
	fill_args(args, place, libexec_dir, plan);
	fds[0] = pair[1];
	memcpy(fds + 1, plan->fds, plan->n_fds * sizeof(int));
	r = spawn_guard(args, fds, plan->n_fds + 1, err);
	free(args);
	close_fd(&pair[1]);
	if (r < 0)
		close_fd(&pair[0]);
	else
		*ret_guard_fd = pair[0];
	return r;
}

int vm_destroy(const struct host_place *place, const char *id, struct err *err)
{
	char path[PATH_MAX];

	names_cgroup(place, id, path);
	return cgroup_destroy(path, DESTROY_MS, err);
}

int vm_memory(const struct host_place *place, const char *id, uint64_t *ret_bytes, struct err *err)
{
	char path[PATH_MAX];

	names_cgroup(place, id, path);
	return cgroup_memory(path, ret_bytes, err);
}

struct old_probes {
	const struct host_place *place;
	struct err *err; /* of the last one that is still there */
	int r;
};

static int remove_old_probe(void *ctx, const char *name)
{
	struct old_probes *old = ctx;
	const char *id = name + sizeof(NAMES_CGROUP_PREFIX) - 1;
	uint64_t deadline_boot_ms;
	char path[PATH_MAX];
	int r;

	if (strncmp(name, NAMES_CGROUP_PREFIX, sizeof(NAMES_CGROUP_PREFIX) - 1) != 0 || !names_is_probe(id, &deadline_boot_ms))
		return 0;
	if (clock_boot_ms() < deadline_boot_ms + PROBE_SLACK_MS)
		return 0; /* its guard is at it, or will be */
	names_cgroup(old->place, id, path);
	r = cgroup_destroy(path, OLD_PROBE_MS, old->err);
	old->r = r < 0 ? r : old->r;
	return 0;
}

int vm_remove_old_probes(const struct host_place *place, struct err *err)
{
	struct old_probes old = { .place = place, .err = err };
	char parent[PATH_MAX];
	int r;

	names_cgroup_parent(place, parent);
	r = cgroup_each(parent, remove_old_probe, &old, err);
	return r < 0 ? r : old.r;
}

struct only_ids {
	int (*visit)(void *ctx, const char *id);
	void *ctx;
};

static int visit_group(void *ctx, const char *name)
{
	const struct only_ids *only = ctx;
	const char *id = name + sizeof(NAMES_CGROUP_PREFIX) - 1;

	if (strncmp(name, NAMES_CGROUP_PREFIX, sizeof(NAMES_CGROUP_PREFIX) - 1) != 0 || !ident_is_id(id, strlen(id)))
		return 0;
	return only->visit(only->ctx, id);
}

int vm_each(const struct host_place *place, int (*visit)(void *ctx, const char *id), void *ctx, struct err *err)
{
	struct only_ids only = { .visit = visit, .ctx = ctx };
	char parent[PATH_MAX];

	names_cgroup_parent(place, parent);
	return cgroup_each(parent, visit_group, &only, err);
}
