#include "worker/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/child.h"
#include "host/disk/disk.h"
#include "lane/accel_probe.h"
#include "lane/process.h"
#include "worker/engine.h"
#include "worker/supervisor_link.h"
#include "worker/unfit_mark.h"
#include "worker/workspace/backends.h"

struct supervisor {
	const struct settings *settings;
	struct lane_setup setup;
	struct lane_process lanes[ENGINE_LANE_COUNT];
	int lane_fds[ENGINE_LANE_COUNT]; /* the engine's ends, until it has them */
	pid_t engine;
	int engine_fd;
	int signal_fd;
	bool is_stopping; /* the engine was told so */
};

static void close_own_fds(const struct supervisor *supervisor)
{
	if (supervisor->signal_fd >= 0)
		(void)close(supervisor->signal_fd);
	if (supervisor->engine_fd >= 0)
		(void)close(supervisor->engine_fd);
}

static void close_lane_fds(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < ENGINE_LANE_COUNT; i++)
		close_fd(&supervisor->lane_fds[i]);
}

/* The end of another lane's socket must be seen by it. */
static void on_lane_child(void *ctx)
{
	close_own_fds(ctx);
	close_lane_fds(ctx);
}

static int start_engine(struct supervisor *supervisor, const char *accel, struct err *err)
{
	struct engine_ends ends = { .accel = accel, .must_prove_host = unfit_mark_exists(supervisor->settings) };
	int pair[2];
	int r = 0;

	for (unsigned i = 0; i < ENGINE_LANE_COUNT && r == 0; i++)
		r = lane_process_start(&supervisor->lanes[i], &supervisor->lane_fds[i], err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, ERR_HOST, errno, "a socket for the engine");
	supervisor->engine = child_fork(CHILD_STOP_BY_SIGNAL);
	if (supervisor->engine == 0) { /* the engine's ends of the lanes stay */
		close_fd(&pair[0]);
		close_own_fds(supervisor);
		log_init("engine", supervisor->settings->log_level);
		ends.supervisor_fd = pair[1];
		memcpy(ends.lane_fds, supervisor->lane_fds, sizeof(ends.lane_fds));
		exit(engine_main(supervisor->settings, &ends));
	}
	close_fd(&pair[1]);
	close_lane_fds(supervisor);
	supervisor->engine_fd = pair[0];
	return supervisor->engine < 0 ? err_set(err, ERR_HOST, errno, "fork the engine") : 0;
}

/* A worker without a lane could do nothing but hold its tasks: when none can be made, it ends, and its tasks run elsewhere. */
static int replace_lane(struct supervisor *supervisor, enum engine_lane index)
{
	cleanup_fd int fd = -1;
	struct err err;

	if (lane_process_replace(&supervisor->lanes[index], &fd, &err) < 0) {
		log_error("supervisor.lane", "message=\"%s; this worker ends\"", err.msg);
		return -1;
	}
	engine_give_lane(supervisor->engine_fd, index, fd);
	return 0;
}

/* The engine's exit status once it has ended, else -1. Lanes that died wait for the engine to ask: it knows which request
 * went with them. */
static int reap_children(struct supervisor *supervisor)
{
	int status, result = -1;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < ENGINE_LANE_COUNT; i++)
			(void)lane_process_has_ended(&supervisor->lanes[i], pid); /* else it is another's */
		if (pid != supervisor->engine)
			continue;
		supervisor->engine = 0;
		result = child_exit_status(status, supervisor->is_stopping);
		if (WIFSIGNALED(status) && result)
			log_error("supervisor.engine", "message=\"killed by signal %d\"", WTERMSIG(status));
	}
	return result;
}

static int take_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	if (read(supervisor->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return -1;
	if (info.ssi_signo == SIGCHLD)
		return reap_children(supervisor);
	supervisor->is_stopping = true;
	if (supervisor->engine > 0)
		(void)kill(supervisor->engine, SIGTERM); /* it is our child: it exists */
	return -1;
}

/* Negative: this worker ends. */
static int take_message(struct supervisor *supervisor, short revents)
{
	enum engine_lane lane;

	switch (revents & POLLIN ? engine_receive_wish(supervisor->engine_fd, &lane) : ENGINE_WISH_NONE) {
	case ENGINE_WISH_LANE:
		return replace_lane(supervisor, lane);
	case ENGINE_WISH_FIT:
		unfit_mark_remove(supervisor->settings);
		return 0;
	case ENGINE_WISH_NONE:
		if (revents & (POLLHUP | POLLERR))
			close_fd(&supervisor->engine_fd); /* its exit follows */
		return 0;
	}
	return 0;
}

static int watch(struct supervisor *supervisor)
{
	int status = reap_children(supervisor); /* the guard of the probe has ended before there was a signalfd to say so */

	while (status < 0) {
		struct pollfd fds[] = { { .fd = supervisor->signal_fd, .events = POLLIN },
					{ .fd = supervisor->engine_fd, .events = POLLIN } };

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents && take_message(supervisor, fds[1].revents) < 0)
			return 1;
		if (fds[0].revents & POLLIN)
			status = take_signal(supervisor);
	}
	return status;
}

/* The null backend makes nothing: it needs nothing of its host. */
static bool makes_workspaces(const struct settings *settings)
{
	return backend_find(settings->vmm)->control;
}

/* What microVMs run on here: KVM where a guest really ran, else TCG where that was allowed. */
static int choose_accel(struct supervisor *supervisor, const char **ret, struct err *err)
{
	const struct settings *settings = supervisor->settings;
	enum accel accel;
	int r;

	*ret = "none";
	if (!makes_workspaces(settings))
		return 0;
	r = accel_probe(&supervisor->setup.place, settings->libexec_dir, settings->allow_emulation, &accel, err);
	if (r < 0)
		return r;
	*ret = accel_name(accel);
	supervisor->setup.accel = accel;
	if (accel == ACCEL_KVM)
		return 0;
	if (!settings->allow_emulation)
		return err_set(err, ERR_HOST, 0,
			       "no guest ran on KVM here, and emulation proves function, not isolation: enable KVM, or "
			       "set allow_emulation = yes to run without isolation");
	log_warn("supervisor.accel", "accel=tcg message=\"emulation: proves function, not isolation\"");
	return 0;
}

/* Once, before there is a lane: it takes longer than the engine waits for one. */
static int prepare_disks(const struct supervisor *supervisor, struct err *err)
{
	if (!makes_workspaces(supervisor->settings))
		return 0;
	return disk_prepare_blanks(&supervisor->setup.place, err);
}

static void fill_setup(struct supervisor *supervisor)
{
	const struct settings *settings = supervisor->settings;
	struct lane_setup *setup = &supervisor->setup;

	names_place(settings->host, settings->state_dir, &setup->place);
	(void)snprintf(setup->libexec_dir, sizeof(setup->libexec_dir), "%s", settings->libexec_dir);
	setup->slot_uid_base = (uint32_t)settings->slot_uid_base;
	setup->n_slots = (uint32_t)settings_vm_slots(settings);
	setup->log_level = settings->log_level;
	supervisor->lanes[ENGINE_LANE_DISK].kind = LANE_DISK;
	supervisor->lanes[ENGINE_LANE_VMM].kind = LANE_VMM;
	for (unsigned i = 0; i < ENGINE_LANE_COUNT; i++) {
		supervisor->lanes[i].setup = setup;
		supervisor->lanes[i].on_child = on_lane_child;
		supervisor->lanes[i].ctx = supervisor;
	}
}

int supervise(const struct settings *settings)
{
	struct supervisor supervisor = { .settings = settings,
					 .lane_fds = { -1, -1 },
					 .engine_fd = -1,
					 .signal_fd = -1 };
	const char *accel;
	struct err err = { 0 };
	int status = 1;

	fill_setup(&supervisor);
	if (choose_accel(&supervisor, &accel, &err) < 0 || prepare_disks(&supervisor, &err) < 0 ||
	    child_signals_open(&supervisor.signal_fd, &err) < 0 ||
	    start_engine(&supervisor, accel, &err) < 0)
		log_error("supervisor.start", "message=\"%s\"", err.msg);
	else
		status = watch(&supervisor);
	if (status == ENGINE_EXIT_UNFIT) {
		unfit_mark_make(settings);
		status = 1;
	}
	if (supervisor.engine > 0)
		(void)child_kill(supervisor.engine); /* one that hangs in the kernel is left to itself */
	for (unsigned i = 0; i < ENGINE_LANE_COUNT; i++)
		lane_process_leave(&supervisor.lanes[i]);
	close_fd(&supervisor.engine_fd);
	close_fd(&supervisor.signal_fd);
	return status;
}
