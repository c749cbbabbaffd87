#include "reaper/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/confine.h"
#include "reaper/engine.h"
#include "reaper/teller.h"
#include "worker/lane/lane.h"

#define RESTART_MIN_MS 200 /* between two starts: what fails at once must not spin */
#define RESTART_MAX_MS 5000
#define HEALTHY_MS     10000 /* after this long the next failure is a new one */
#define STOP_MS	       60000 /* for the engine's step at hand: the patience of its helpers */
#define FAREWELL_MS    2000  /* for helpers to see their socket's end */

enum child { CHILD_LANE, CHILD_TELLER, CHILD_ENGINE, CHILD_COUNT };

static const char *const child_names[] = { "reap-lane", "teller", "engine" };
_Static_assert(ARRAY_SIZE(child_names) == CHILD_COUNT, "a name for every child");

struct supervisor {
	const struct reaper_settings *settings;
	pid_t pids[CHILD_COUNT]; /* 0: not running */
	int signal_fd;
	bool is_stopping;
};

struct sockets {
	int lane[2], teller[2]; /* [0] the engine's end, [1] the helper's */
};

static void sockets_close(struct sockets *sockets)
{
	for (int i = 0; i < 2; i++) {
		close_fd(&sockets->lane[i]);
		close_fd(&sockets->teller[i]);
	}
}

static int run_lane(const struct reaper_settings *settings, int fd)
{
	struct lane_setup setup = { 0 };

	(void)snprintf(setup.place.host, sizeof(setup.place.host), "%.*s", IDENT_ID_MAX, settings->host);
	(void)snprintf(setup.place.state_dir, sizeof(setup.place.state_dir), "%s", settings->state_dir);
	(void)snprintf(setup.libexec_dir, sizeof(setup.libexec_dir), "%s", settings->libexec_dir);
	return lane_reap_main(fd, &setup);
}

static int run_confined(const struct supervisor *supervisor, enum child child, struct sockets *sockets)
{
	const struct engine_ends ends = { .lane_fd = take_fd(&sockets->lane[0]),
					  .teller_fd = take_fd(&sockets->teller[0]) };
	struct err err;

	if (confine_process((uid_t)supervisor->settings->engine_uid, &err) < 0) {
		log_error("reaper.confine", "message=\"%s\"", err.msg);
		return 1;
	}
	if (child == CHILD_ENGINE)
		return engine_main(supervisor->settings, &ends);
	return teller_main(sockets->teller[1], supervisor->settings);
}

/* Every descriptor that is another child's is closed first: the end of a socket must be seen. */
static _Noreturn void become(const struct supervisor *supervisor, enum child child, struct sockets *sockets,
			     pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	log_init(child_names[child], (enum log_level)log_level_parse(supervisor->settings->log_level));
	(void)close(supervisor->signal_fd); /* ours; only read */
	if (child != CHILD_ENGINE) {
		(void)signal(SIGTERM, SIG_IGN); /* a helper ends when the engine has */
		(void)signal(SIGINT, SIG_IGN);
		close_fd(&sockets->lane[0]);
		close_fd(&sockets->teller[0]);
	}
	if (child != CHILD_LANE)
		close_fd(&sockets->lane[1]);
	if (child != CHILD_TELLER)
		close_fd(&sockets->teller[1]);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with a valid set */
	if (child == CHILD_LANE)
		exit(run_lane(supervisor->settings, sockets->lane[1]));
	exit(run_confined(supervisor, child, sockets)); /* exit(3): the leak check is an exit handler */
}

static int start_children(struct supervisor *supervisor, struct err *err)
{
	cleanup_(sockets_close) struct sockets sockets = { { -1, -1 }, { -1, -1 } };
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.lane) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.teller) < 0)
		return err_set(err, ERR_HOST, errno, "sockets for the reaper's processes");
	for (int child = 0; child < CHILD_COUNT; child++) {
		pid_t pid = fork();

		if (pid == 0)
			become(supervisor, (enum child)child, &sockets, parent);
		if (pid < 0)
			return err_set(err, ERR_HOST, errno, "fork the reaper's %s", child_names[child]);
		supervisor->pids[child] = pid;
	}
	return 0;
}

static void note_exit(struct supervisor *supervisor, pid_t pid, int status, int *ret_engine_status)
{
	for (int child = 0; child < CHILD_COUNT; child++) {
		if (supervisor->pids[child] != pid)
			continue;
		supervisor->pids[child] = 0;
		if (child == CHILD_ENGINE)
			*ret_engine_status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (!supervisor->is_stopping)
			log_warn("reaper.child", "process=%s status=%d signal=%d message=\"ended; starting all anew\"",
				 child_names[child], WIFEXITED(status) ? WEXITSTATUS(status) : -1,
				 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
}

static bool is_any_running(const struct supervisor *supervisor)
{
	for (int child = 0; child < CHILD_COUNT; child++)
		if (supervisor->pids[child])
			return true;
	return false;
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

/* Until one child has ended or we shall stop. */
static void watch(struct supervisor *supervisor, int *ret_engine_status)
{
	for (;;) {
		bool is_stopping = read_signals(supervisor);

		reap_children(supervisor, ret_engine_status);
		for (int child = 0; child < CHILD_COUNT; child++)
			if (!supervisor->pids[child])
				return;
		if (is_stopping)
			return;
		wait_for_signal(supervisor, -1);
	}
}

static void kill_all(struct supervisor *supervisor)
{
	for (int child = 0; child < CHILD_COUNT; child++)
		if (supervisor->pids[child])
			(void)kill(supervisor->pids[child], SIGKILL); /* ours, not yet waited for */
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
	deadline_ms = clock_mono_ms() + FAREWELL_MS;
	while (is_any_running(supervisor) && !supervisor->pids[CHILD_ENGINE] && clock_mono_ms() < deadline_ms) {
		wait_for_signal(supervisor, 50);
		(void)read_signals(supervisor);
		reap_children(supervisor, ret_engine_status);
	}
	kill_all(supervisor);
	while (is_any_running(supervisor)) {
		reap_children(supervisor, ret_engine_status);
		(void)poll(NULL, 0, 5);
	}
}

static int open_signals(struct supervisor *supervisor, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(err, ERR_HOST, errno, "block signals");
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return supervisor->signal_fd < 0 ? err_set(err, ERR_HOST, errno, "a signalfd") : 0;
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
	return engine_status;
}

int supervise(const struct reaper_settings *settings)
{
	struct supervisor supervisor = { .settings = settings, .signal_fd = -1 };
	int restart_ms = RESTART_MIN_MS, status = 1;
	struct err err;

	if (open_signals(&supervisor, &err) < 0) {
		log_error("reaper.start", "message=\"%s\"", err.msg);
		return 1;
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
