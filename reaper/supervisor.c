#include "reaper/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/access.h"
#include "host/child.h"
#include "host/confine.h"
#include "lane/process.h"
#include "reaper/credentials.h"
#include "reaper/kafka_process.h"
#include "reaper/reaper.h"

#define RESTART_MIN_MS 200 /* between two starts: what fails at once must not spin */
#define RESTART_MAX_MS 5000
#define HEALTHY_MS     10000 /* after this long the next failure is a new one */
#define STOP_MS	       60000 /* for the engine's step at hand: the patience of its helpers */

enum child { CHILD_KAFKA, CHILD_ENGINE, CHILD_COUNT }; /* beside the lane */

static const char *const child_names[] = { "kafka", "engine" };
_Static_assert(ARRAY_SIZE(child_names) == CHILD_COUNT, "a name for every child");

struct supervisor {
	const struct reaper_settings *settings;
	pid_t pids[CHILD_COUNT]; /* 0: not running */
	struct lane_setup setup;
	struct lane_process lane;
	bool is_lane_wanted; /* the engine has none: too many hang */
	bool has_lane_ended; /* one of those, since */
	int engine_fd;	     /* asks for a lane, gets it */
	int signal_fd;
	bool is_stopping;
};

struct sockets {
	int lane;      /* the engine's end */
	int kafka[2];  /* [0] the engine's end, [1] the helper's */
	int engine[2]; /* [0] the engine's end, [1] ours */
};

static void sockets_close(struct sockets *sockets)
{
	close_fd(&sockets->lane);
	for (int i = 0; i < 2; i++) {
		close_fd(&sockets->kafka[i]);
		close_fd(&sockets->engine[i]);
	}
}

static void close_own_fds(const struct supervisor *supervisor)
{
	(void)close(supervisor->signal_fd); /* only read */
	if (supervisor->engine_fd >= 0)
		(void)close(supervisor->engine_fd); /* the same */
}

static void on_lane_child(void *ctx)
{
	close_own_fds(ctx);
}

static void fill_lane(struct supervisor *supervisor)
{
	const struct reaper_settings *settings = supervisor->settings;
	struct lane_setup *setup = &supervisor->setup;

	names_place(settings->host, settings->state_dir, &setup->place);
	(void)snprintf(setup->libexec_dir, sizeof(setup->libexec_dir), "%s", settings->libexec_dir);
	setup->log_level = settings->log_level;
	supervisor->lane = (struct lane_process){
		.kind = LANE_REAP, .setup = setup, .on_child = on_lane_child, .ctx = supervisor
	};
}

/* Read what only root may, then give that up. Answers 0, or the process's exit status. */
static int enter_confined(const struct reaper_settings *settings, struct redis_endpoint **ret_redis)
{
	struct err err;

	if (fleet_credentials_load(&settings->fleet, ret_redis, &err) == 0 &&
	    confine_process((uid_t)settings->engine_uid, settings->fleet.redis.socket, &err) == 0)
		return 0;
	log_error("reaper.confine", "message=\"%s\"", err.msg);
	return err.kind == ERR_INPUT ? ACCESS_EXIT_REFUSED : 1;
}

static int run_confined(const struct supervisor *supervisor, enum child child, struct sockets *sockets)
{
	const struct reaper_ends ends = { .lane_fd = take_fd(&sockets->lane),
					  .kafka_fd = take_fd(&sockets->kafka[0]),
					  .supervisor_fd = take_fd(&sockets->engine[0]) };
	cleanup_(redis_endpoint_freep) struct redis_endpoint *redis = NULL;
	int r = enter_confined(supervisor->settings, &redis);

	if (r)
		return r;
	if (child == CHILD_ENGINE)
		return reaper_main(supervisor->settings, redis, &ends);
	return kafka_process_main(sockets->kafka[1], supervisor->settings);
}

/* Every descriptor that is another child's is closed first: the end of a socket must be seen. */
static _Noreturn void become(const struct supervisor *supervisor, enum child child, struct sockets *sockets)
{
	log_init(child_names[child], supervisor->settings->log_level);
	close_own_fds(supervisor);
	close_fd(&sockets->engine[1]);
	if (child == CHILD_ENGINE) {
		close_fd(&sockets->kafka[1]);
	} else {
		close_fd(&sockets->lane);
		close_fd(&sockets->kafka[0]);
		close_fd(&sockets->engine[0]);
	}
	exit(run_confined(supervisor, child, sockets)); /* exit(3): the leak check is an exit handler */
}

static int start_child(struct supervisor *supervisor, enum child child, struct sockets *sockets, struct err *err)
{
	pid_t pid = child_fork(child == CHILD_ENGINE ? CHILD_STOP_BY_SIGNAL : CHILD_STOP_BY_SOCKET);

	if (pid == 0)
		become(supervisor, child, sockets);
	if (pid < 0)
		return err_set(err, ERR_HOST, errno, "fork the reaper's %s process", child_names[child]);
	supervisor->pids[child] = pid;
	return 0;
}

static int make_socket(int pair[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, ERR_HOST, errno, "sockets for the reaper's processes");
	return 0;
}

static int start_children(struct supervisor *supervisor, struct err *err)
{
	cleanup_(sockets_close) struct sockets sockets = { .lane = -1, .kafka = { -1, -1 }, .engine = { -1, -1 } };
	int r = lane_process_start(&supervisor->lane, &sockets.lane, err); /* first: it has no other socket's end */

	if (r == 0)
		r = make_socket(sockets.kafka, err);
	if (r == 0)
		r = make_socket(sockets.engine, err);
	for (int child = 0; child < CHILD_COUNT && r == 0; child++)
		r = start_child(supervisor, (enum child)child, &sockets, err);
	supervisor->engine_fd = take_fd(&sockets.engine[1]);
	supervisor->is_lane_wanted = false; /* here it is */
	return r;
}

static void note_exit(struct supervisor *supervisor, pid_t pid, int status, int *ret_engine_status)
{
	int child = 0;

	if (lane_process_has_ended(&supervisor->lane, pid)) {
		supervisor->has_lane_ended = true;
		return;
	}
	while (child < CHILD_COUNT && supervisor->pids[child] != pid)
		child++;
	if (child == CHILD_COUNT) /* one that was given up */
		return;
	supervisor->pids[child] = 0;
	if (child == CHILD_ENGINE)
		*ret_engine_status = child_exit_status(status, supervisor->is_stopping);
	if (!supervisor->is_stopping)
		log_warn("reaper.child", "process=%s status=%d signal=%d message=\"ended; starting all anew\"",
			 child_names[child], WIFEXITED(status) ? WEXITSTATUS(status) : -1,
			 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static bool is_any_running(const struct supervisor *supervisor)
{
	for (int child = 0; child < CHILD_COUNT; child++)
		if (supervisor->pids[child])
			return true;
	return supervisor->lane.pid != 0;
}

static void wait_for_signal(const struct supervisor *supervisor, int wait_ms)
{
	struct pollfd ready = { .fd = supervisor->signal_fd, .events = POLLIN };

	(void)poll(&ready, 1, wait_ms); /* EINTR and a timeout are fine: the caller looks again */
}

/* True when asked to stop. */
static bool read_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			supervisor->is_stopping = true;
	return supervisor->is_stopping;
}

static void reap_children(struct supervisor *supervisor, int *ret_engine_status)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_exit(supervisor, pid, status, ret_engine_status);
}

static void end_child(struct supervisor *supervisor, enum child child)
{
	if (supervisor->pids[child] && !child_kill(supervisor->pids[child]))
		log_error("reaper.child",
			  "process=%s pid=%d message=\"killed, and hangs in the kernel; going on without it\"",
			  child_names[child], supervisor->pids[child]);
	supervisor->pids[child] = 0;
}

/* The engine has lost its lane, over which request it knows. False: none can be made. */
static bool replace_lane(struct supervisor *supervisor)
{
	cleanup_fd int fd = -1;
	struct err err;
	int r = lane_process_replace(&supervisor->lane, &fd, &err);

	supervisor->is_lane_wanted = r == -EBUSY;
	supervisor->has_lane_ended = false;
	if (r < 0)
		log_error("reaper.lane", "message=\"%s\"", err.msg);
	else
		(void)fd_send(supervisor->engine_fd, "", 1, &fd, 1, 0); /* an engine that is gone is seen by its exit */
	return r == 0 || r == -EBUSY;
}

static bool is_lane_asked_for(struct supervisor *supervisor)
{
	char byte;
	ssize_t n = recv(supervisor->engine_fd, &byte, 1, MSG_DONTWAIT);

	if (n == 0)
		close_fd(&supervisor->engine_fd); /* the engine's exit follows */
	return n == 1 || (supervisor->is_lane_wanted && supervisor->has_lane_ended);
}

static void wait_for_signal_or_engine(const struct supervisor *supervisor)
{
	struct pollfd ready[] = { { .fd = supervisor->signal_fd, .events = POLLIN },
				  { .fd = supervisor->engine_fd, .events = POLLIN } };

	(void)poll(ready, ARRAY_SIZE(ready), -1); /* EINTR is fine: the caller looks again */
}

/* Until all must be started anew, or we shall stop. */
static void watch(struct supervisor *supervisor, int *ret_engine_status)
{
	for (;;) {
		bool is_stopping = read_signals(supervisor);

		reap_children(supervisor, ret_engine_status);
		if (is_stopping || !supervisor->pids[CHILD_ENGINE] || !supervisor->pids[CHILD_KAFKA])
			return;
		if (is_lane_asked_for(supervisor) && !replace_lane(supervisor))
			return;
		wait_for_signal_or_engine(supervisor);
	}
}

/* The engine finishes its step; with its end the helpers' sockets end, and so do they. */
static void end_children(struct supervisor *supervisor, int *ret_engine_status)
{
	uint64_t deadline_ms = clock_mono_ms() + STOP_MS;

	if (supervisor->pids[CHILD_ENGINE])
		(void)kill(supervisor->pids[CHILD_ENGINE], SIGTERM);
	while (supervisor->pids[CHILD_ENGINE] && clock_mono_ms() < deadline_ms) {
		wait_for_signal(supervisor, 100);
		(void)read_signals(supervisor); /* asked again or not, we are at it */
		reap_children(supervisor, ret_engine_status);
	}
	deadline_ms = clock_mono_ms() + CHILD_FAREWELL_MS;
	while (is_any_running(supervisor) && !supervisor->pids[CHILD_ENGINE] && clock_mono_ms() < deadline_ms) {
		wait_for_signal(supervisor, 50);
		(void)read_signals(supervisor);
		reap_children(supervisor, ret_engine_status);
	}
	for (int child = 0; child < CHILD_COUNT; child++)
		end_child(supervisor, (enum child)child);
	lane_process_leave(&supervisor->lane);
}

/* One life of the three processes. Answers the engine's exit status. */
static int live_once(struct supervisor *supervisor)
{
	int engine_status = 1;
	struct err err;

	if (start_children(supervisor, &err) < 0)
		log_error("reaper.start", "message=\"%s\"", err.msg);
	else
		watch(supervisor, &engine_status);
	end_children(supervisor, &engine_status);
	close_fd(&supervisor->engine_fd);
	return engine_status;
}

static _Noreturn void become_checker(const struct supervisor *supervisor)
{
	cleanup_(redis_endpoint_freep) struct redis_endpoint *redis = NULL;
	int r;

	log_init("credentials", supervisor->settings->log_level);
	close_own_fds(supervisor);
	r = enter_confined(supervisor->settings, &redis);
	if (r == 0)
		r = credentials_check_main(supervisor->settings, redis);
	redis_endpoint_free(TAKE_PTR(redis)); /* exit(3) runs no cleanup */
	exit(r);
}

/* Before anything else runs, in a process of its own: are we let in? Answers false when we are not, or shall stop. */
static bool check_credentials(struct supervisor *supervisor)
{
	pid_t pid = child_fork(CHILD_STOP_BY_SIGNAL), ended;
	int status = 0;

	if (pid == 0)
		become_checker(supervisor);
	if (pid < 0)
		return true; /* the next fork will say so */
	while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
		if (read_signals(supervisor))
			(void)kill(pid, SIGKILL); /* ours, not yet waited for */
		wait_for_signal(supervisor, 100);
	}
	return !supervisor->is_stopping &&
	       !(ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == ACCESS_EXIT_REFUSED);
}

int supervise(const struct reaper_settings *settings)
{
	struct supervisor supervisor = { .settings = settings, .engine_fd = -1, .signal_fd = -1 };
	int restart_ms = RESTART_MIN_MS, status = 1;
	struct err err;

	fill_lane(&supervisor);
	if (child_signals_open(&supervisor.signal_fd, &err) < 0) {
		log_error("reaper.start", "message=\"%s\"", err.msg);
		return 1;
	}
	if (!check_credentials(&supervisor)) {
		close_fd(&supervisor.signal_fd);
		return supervisor.is_stopping ? 0 : ACCESS_EXIT_REFUSED;
	}
	while (!supervisor.is_stopping) {
		uint64_t started_ms = clock_mono_ms();

		status = live_once(&supervisor);
		if (supervisor.is_stopping)
			break;
		restart_ms = clock_mono_ms() - started_ms > HEALTHY_MS ? RESTART_MIN_MS : restart_ms * 2;
		if (restart_ms > RESTART_MAX_MS)
			restart_ms = RESTART_MAX_MS;
		wait_for_signal(&supervisor, restart_ms);
		(void)read_signals(&supervisor);
	}
	close_fd(&supervisor.signal_fd);
	return status;
}
