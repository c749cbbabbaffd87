/* mayfly-agent: PID 1 of a microVM.
 *
 * Boots, says hello, and then does what the engine says in the guest protocol (wire/frame.h): setup and mount once; then
 * input files, programs and files back for many execs at once. In a template it is told to warm instead, and goes on in
 * clones of it without knowing which, or how many: it trusts nothing that it drew or measured before setup. It shares the kernel with programs it must not trust; they
 * get nothing of it but the other ends of three pipes. One loop does everything: it waits for the port, for signals
 * and for what execs wait for; then each part does what can be done without waiting.
 *
 *   new, warm    hello was said, and warmed; setup may come, and warm, once
 *   set up       it is a VM of its own; only mount may come
 *   ready        frames about execs are taken, and the time
 *   not hearing  the peer is gone or another one has come, it sent what is no frame of the protocol, or it was refused. Only attach
 *                is taken. Programs go on, and nothing is said about them
 *
 * An attach leads from `not hearing` back to where the agent was. A warm, setup or mount that failed cannot be
 * repeated: every attach is told. The agent ends only together with the VM: its guard ends that, or the agent itself when it cannot
 * go on; before it said hello, the VM then starts its kernel again. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/boot.h"
#include "guest/agent/connection.h"
#include "guest/agent/held_disk.h"
#include "guest/agent/mounts.h"
#include "guest/agent/execs.h"
#include "guest/agent/setup.h"
#include "guest/agent/warm.h"

enum agent_phase { AGENT_NEW, AGENT_WARM, AGENT_SET_UP, AGENT_READY, AGENT_PHASE_COUNT };

static const char *const phases[] = { [AGENT_NEW] = "not set up",
				      [AGENT_WARM] = "warm and not set up",
				      [AGENT_SET_UP] = "set up, without its disk",
				      [AGENT_READY] = "ready" };
static_assert(ARRAY_SIZE(phases) == AGENT_PHASE_COUNT, "every phase has its words");

#define RELEASE_MS 3000 /* after `ready`, when there is less to do; what is dirty then is not old enough to be written anyway */

struct agent {
	struct connection connection;
	int signal_fd;
	bool is_hearing;
	enum agent_phase phase;
	bool has_disk; /* mounted, and held */
	uint64_t release_mono_ms; /* 0: not yet, or done */
	bool is_prepared; /* all that needs no disk and no identity is there */
	char failure[sizeof(((struct err *)NULL)->msg)]; /* of what leads to the next phase; "": it did not fail */
	struct execs execs;
};

static uint64_t uptime_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail with this clock */
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void stop_hearing(struct agent *agent)
{
	agent->is_hearing = false;
	execs_detach(&agent->execs);
}

/* About the whole guest. */
static void agent_fail(struct agent *agent, const char *why)
{
	const struct frame frame = { .type = FRAME_FAIL, .error = { .text = why, .len = strlen(why) } };

	if (!agent->is_hearing)
		return;
	stop_hearing(agent);
	(void)connection_send(&agent->connection, &frame); /* if even this does not fit, the host's deadline ends the VM */
}

static int send_simple(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = connection_send(&agent->connection, frame);

	return r < 0 ? err_set(err, ERR_HOST, -r, "queue a '%s' frame", frame_type_name(frame->type)) : 0;
}

static int check_version(const struct frame *frame, struct err *err)
{
	if (frame->version == FRAME_VERSION)
		return 0;
	return err_set(err, ERR_HOST, 0,
		       "the engine speaks version %u of the guest protocol, the agent in the kernel bundle %d; rebuild the bundle with "
		       "'mayfly image build'",
		       frame->version, FRAME_VERSION);
}

/* Half of it may have been done: there is no second try. */
static int go_on_to(struct agent *agent, enum agent_phase phase, int r, const struct err *err)
{
	if (r == 0)
		agent->phase = phase;
	else
		(void)snprintf(agent->failure, sizeof(agent->failure), "%s", err->msg);
	return r;
}

/* In a template before it is one, so that its clones find it done. */
static int prepare_guest(struct agent *agent, struct err *err)
{
	int r = agent->is_prepared ? 0 : mounts_prepare(err);

	if (r == 0 && !agent->is_prepared)
		r = setup_prepare(err);
	agent->is_prepared = r == 0;
	return r;
}

/* A template without what its image wants to have waiting is one, too: programs are executed. */
static int take_warm(struct agent *agent, const struct frame *frame, struct err *err)
{
	struct frame warmed = { .type = FRAME_WARMED };
	uint64_t start_ms = clock_mono_ms();
	struct err why = { .msg = "" };
	int r = check_version(frame, err);

	if (r < 0)
		return r; /* nothing was done: the right engine may attach */
	r = go_on_to(agent, AGENT_WARM, prepare_guest(agent, err), err);
	if (r < 0)
		return r;
	r = warm_start(&why);
	warmed.is_warm = r > 0;
	if (r < 0)
		warmed.error = (struct frame_text){ .text = why.msg, .len = strlen(why.msg) };
	if (frame->has_disk && go_on_to(agent, AGENT_WARM, mounts_make_held(err), err) < 0)
		return -EIO;
	agent->has_disk = frame->has_disk;
	warmed.elapsed_ms = clock_mono_ms() - start_ms;
	return send_simple(agent, &warmed, err);
}

static int take_setup(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = check_version(frame, err);

	if (r < 0)
		return r;
	r = setup_identity(frame, err);
	if (r == 0)
		r = prepare_guest(agent, err);
	if (r == 0)
		r = setup_files(frame, err);
	if (r == 0)
		warm_reseed();
	return go_on_to(agent, AGENT_SET_UP, r, err);
}

static int take_mount(struct agent *agent, struct err *err)
{
	struct frame ready = { .type = FRAME_READY };
	uint64_t start_ms = clock_mono_ms();
	int r = go_on_to(agent, AGENT_READY, (agent->has_disk ? held_disk_check : mounts_make)(err), err);

	if (r < 0)
		return r;
	agent->release_mono_ms = clock_mono_ms() + RELEASE_MS;
	ready.elapsed_ms = clock_mono_ms() - start_ms;
	return send_simple(agent, &ready, err);
}

static int say_hello(struct agent *agent, struct err *err)
{
	const struct frame hello = { .type = FRAME_HELLO,
				     .version = FRAME_VERSION,
				     .elapsed_ms = uptime_ms(),
				     .is_set_up = agent->phase >= AGENT_SET_UP,
				     .is_mounted = agent->phase >= AGENT_READY,
				     .n_execs = execs_count(&agent->execs) };

	agent->is_hearing = true;
	return send_simple(agent, &hello, err);
}

static int take_attach(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r;

	stop_hearing(agent); /* to whoever was there before */
	r = connection_greet(&agent->connection);
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "greet another engine");
	r = say_hello(agent, err);
	if (r == 0)
		r = check_version(frame, err);
	if (r == 0 && agent->failure[0])
		r = err_set(err, ERR_HOST, 0, "%s", agent->failure);
	if (r == 0 && execs_announce(&agent->execs, &agent->connection) < 0)
		r = err_set(err, ERR_HOST, ENOMEM, "announce the programs");
	return r;
}

static bool is_about_an_exec(enum frame_type type)
{
	switch ((int)type) {
	case FRAME_PUT:
	case FRAME_RUN:
	case FRAME_STDIN:
	case FRAME_ACK:
	case FRAME_KILL:
	case FRAME_COLLECT:
	case FRAME_RESUME:
	case FRAME_END:
		return true;
	default:
		return false;
	}
}

static int take_frame(struct agent *agent, const struct frame *frame, struct err *err)
{
	if (frame->type == FRAME_ATTACH)
		return take_attach(agent, frame, err);
	if (!agent->is_hearing)
		return 0;
	if (frame->type == FRAME_WARM && agent->phase == AGENT_NEW)
		return take_warm(agent, frame, err);
	if (frame->type == FRAME_SETUP && agent->phase < AGENT_SET_UP)
		return take_setup(agent, frame, err);
	if (frame->type == FRAME_MOUNT && agent->phase == AGENT_SET_UP)
		return take_mount(agent, err);
	if (frame->type == FRAME_CLOCK && agent->phase == AGENT_READY)
		return setup_clock(frame->realtime_ns, err);
	if (!is_about_an_exec(frame->type) || agent->phase < AGENT_READY)
		return err_set(err, ERR_BUG, 0, "a '%s' frame does not belong here: the guest is %s", frame_type_name(frame->type),
			       phases[agent->phase]);
	execs_take(&agent->execs, frame, &agent->connection);
	return 0;
}

static void take_frames(struct agent *agent)
{
	const struct frame *frame;
	enum connection_news news;
	struct err err;
	char why[160];

	while ((news = connection_next(&agent->connection, &frame, why)) != CONNECTION_NOTHING)
		if (news == CONNECTION_PEER)
			stop_hearing(agent);
		else if (news == CONNECTION_BAD)
			agent_fail(agent, why);
		else if (take_frame(agent, frame, &err) < 0)
			agent_fail(agent, err.msg);
}

static void forget_signals(const struct agent *agent)
{
	struct signalfd_siginfo infos[16];

	while (read(agent->signal_fd, infos, sizeof(infos)) > 0)
		; /* execs_step() reaps whatever there is */
}

/* How long until then; -1: it is not to come. */
static int release_in_time(struct agent *agent)
{
	uint64_t now_ms = clock_mono_ms();

	if (agent->release_mono_ms > now_ms)
		return (int)(agent->release_mono_ms - now_ms);
	if (agent->release_mono_ms)
		held_disk_release();
	agent->release_mono_ms = 0;
	return -1;
}

static int sooner(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static void wait_for_events(struct agent *agent)
{
	struct pollfd fds[2 + EXECS_FDS_MAX] = { { .fd = agent->signal_fd, .events = POLLIN } };
	int connection_ms, execs_ms;
	unsigned n = 2 + execs_poll(&agent->execs, &agent->connection, fds + 2, &execs_ms);

	connection_poll(&agent->connection, &fds[1], &connection_ms);
	execs_ms = sooner(release_in_time(agent), sooner(execs_ms, connection_ms));
	(void)poll(fds, n, execs_ms); /* every step is tried whatever it says; none of them blocks */
	if (fds[0].revents)
		forget_signals(agent);
}

/* Answers only when the VM has to end. */
static void serve(struct agent *agent)
{
	struct err err;

	for (;;) {
		if (connection_read(&agent->connection, &err) < 0)
			return;
		take_frames(agent);
		execs_step(&agent->execs, &agent->connection);
		if (connection_write(&agent->connection) < 0)
			return;
		wait_for_events(agent);
	}
}

static int prepare_signals(struct agent *agent, struct err *err)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaction(SIGPIPE, &ignore, NULL); /* these four cannot fail with valid arguments */
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	agent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->signal_fd < 0 ? err_set(err, ERR_HOST, errno, "watch for signals") : 0;
}

static int prepare(struct agent *agent, struct err *err)
{
	int port_fd = -1;
	int r = boot_prepare(err);

	if (r == 0)
		r = prepare_signals(agent, err);
	if (r == 0)
		r = boot_open_port(&port_fd, err);
	if (r < 0)
		return r;
	(void)setpriority(PRIO_PROCESS, 0, -20); /* a busy task waits for the agent, not the other way round */
	connection_open(&agent->connection, port_fd);
	execs_open(&agent->execs);
	return say_hello(agent, err);
}

int main(void)
{
	static struct agent agent = { .signal_fd = -1 };
	struct err err;

	if (prepare(&agent, &err) == 0)
		serve(&agent);
	else
		(void)dprintf(STDERR_FILENO, "mayfly-agent: %s\n", err.msg); /* seen when the VM was given a console */
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
