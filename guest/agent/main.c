/* mayfly-agent: PID 1 of a microVM.
 *
 * Boots, says hello, and then does what the host says over the channel of wire/frame.h, one step after the other:
 * setup, input files, a program, files back. It shares the kernel with programs it must not trust; they get nothing of
 * it but the other ends of three pipes. It ends only together with the VM: when the host is gone, or when it cannot go
 * on; before it said hello, the VM then starts its kernel again. A bad frame, or a step that fails, is answered once with `fail`; then it only waits for the host to end the VM. */
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
#include "guest/agent/channel.h"
#include "guest/agent/collect.h"
#include "guest/agent/disk.h"
#include "guest/agent/program.h"
#include "guest/agent/put.h"
#include "guest/agent/setup.h"

enum agent_state {
	AGENT_NEW,    /* said hello; only setup may come */
	AGENT_READY,  /* set up: put, run, collect */
	AGENT_FAILED, /* said fail: hears nothing more */
	AGENT_STATE_COUNT
};

struct agent {
	enum agent_state state;
	struct channel channel;
	int signal_fd;
	struct put put;
	uint32_t exec; /* the program's number; 0 before the first */
	struct program program;
};

static uint64_t uptime_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail with this clock */
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void agent_fail(struct agent *agent, const char *why)
{
	const char *missing = agent->program.missing;
	const struct frame frame = { .type = FRAME_FAIL,
				     .exec = agent->exec,
				     .error = { .text = why, .len = strlen(why) },
				     .missing = { .text = missing, .len = strlen(missing) } };

	if (agent->state == AGENT_FAILED)
		return;
	agent->state = AGENT_FAILED;
	program_kill(&agent->program);
	(void)channel_send(&agent->channel, &frame); /* if even this does not fit, the host's deadline ends the VM */
}

static int send_simple(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = channel_send(&agent->channel, frame);

	return r < 0 ? err_set(err, ERR_HOST, -r, "queue a '%s' frame", frame_type_name(frame->type)) : 0;
}

static int take_setup(struct agent *agent, const struct frame *frame, struct err *err)
{
	struct frame ready = { .type = FRAME_READY };
	uint64_t start_ms = clock_mono_ms();
	int r;

	if (frame->version != FRAME_VERSION)
		return err_set(err, ERR_HOST, 0,
			       "the engine speaks version %u of the guest protocol, this agent %d; rebuild the kernel bundle with "
			       "'mayfly image build'", frame->version, FRAME_VERSION);
	r = setup_identity(frame, err);
	if (r == 0)
		r = disk_mount(err);
	if (r == 0)
		r = setup_hosts(frame, err);
	if (r < 0)
		return r;
	agent->state = AGENT_READY;
	ready.elapsed_ms = clock_mono_ms() - start_ms;
	return send_simple(agent, &ready, err);
}

static int take_run(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = program_start(&agent->program, frame, err);

	return r < 0 ? r : send_simple(agent, &(struct frame){ .type = FRAME_STARTED, .exec = frame->exec }, err);
}

static int take_stdin(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = program_feed(&agent->program, frame);

	return r < 0 ? err_set(err, ERR_INPUT, -r, "hold the program's input") : 0;
}

static int take_collect(struct agent *agent, const struct frame *frame, struct err *err)
{
	int r = collect_files(&agent->channel, frame);

	return r < 0 ? err_set(err, ERR_HOST, -r, "send the collected files") : 0;
}

/* What comes too late because the program just ended is no fault: ack and stdin are always welcome after setup. */
static int take_frame(struct agent *agent, const struct frame *frame, struct err *err)
{
	bool is_idle = agent->state == AGENT_READY && agent->program.state == PROGRAM_NONE;

	if (frame->type == FRAME_SETUP && agent->state == AGENT_NEW)
		return take_setup(agent, frame, err);
	if (is_idle && (frame->type == FRAME_PUT || frame->type == FRAME_RUN))
		agent->exec = frame->exec;
	if (frame->type == FRAME_PUT && is_idle)
		return put_piece(&agent->put, frame, err);
	if (frame->type == FRAME_RUN && is_idle)
		return take_run(agent, frame, err);
	if (frame->type == FRAME_COLLECT && is_idle)
		return take_collect(agent, frame, err);
	if (frame->type == FRAME_STDIN && agent->state == AGENT_READY)
		return take_stdin(agent, frame, err);
	if (frame->type == FRAME_ACK && agent->state == AGENT_READY) {
		output_acknowledge(&agent->program.output, frame);
		return 0;
	}
	return err_set(err, ERR_BUG, 0, "a '%s' frame does not belong here", frame_type_name(frame->type));
}

static void take_frames(struct agent *agent)
{
	const struct frame *frame;
	struct err err;
	char why[160];
	int r;

	while ((frame = channel_next(&agent->channel, &r, why)))
		if (agent->state != AGENT_FAILED && take_frame(agent, frame, &err) < 0)
			agent_fail(agent, err.msg);
	if (r == -EBADMSG)
		agent_fail(agent, why);
	else if (r < 0)
		agent_fail(agent, "no memory for a frame");
}

static void forget_signals(const struct agent *agent)
{
	struct signalfd_siginfo infos[16];

	while (read(agent->signal_fd, infos, sizeof(infos)) > 0)
		; /* program_step() reaps whatever there is */
}

static void wait_for_events(struct agent *agent)
{
	struct pollfd fds[2 + PROGRAM_FDS_MAX] = { { .fd = agent->channel.fd, .events = POLLIN },
				 { .fd = agent->signal_fd, .events = POLLIN } };
	int timeout_ms;
	unsigned n = 2 + program_poll(&agent->program, &agent->channel, fds + 2, &timeout_ms);

	if (agent->channel.out.len)
		fds[0].events |= POLLOUT;
	(void)poll(fds, n, timeout_ms); /* every step below is tried whatever it says; none of them blocks */
	if (fds[1].revents)
		forget_signals(agent);
}

/* Answers only when the VM has to end. */
static void serve(struct agent *agent)
{
	struct err err;

	for (;;) {
		int r;

		if (channel_read(&agent->channel, &err) < 0)
			return;
		take_frames(agent);
		r = program_step(&agent->program, &agent->channel);
		if (r == 0 && agent->program.state == PROGRAM_ENDED && agent->state != AGENT_FAILED)
			r = program_report(&agent->program, &agent->channel);
		if (r < 0)
			agent_fail(agent, "no memory for the program's output");
		if (channel_write(&agent->channel) < 0)
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
	struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };
	int port_fd = -1;
	int r = boot_prepare(err);

	if (r == 0)
		r = prepare_signals(agent, err);
	if (r == 0)
		r = boot_open_port(&port_fd, err);
	if (r < 0)
		return r;
	(void)setpriority(PRIO_PROCESS, 0, -20); /* a busy task waits for the agent, not the other way round */
	channel_open(&agent->channel, port_fd);
	hello.elapsed_ms = uptime_ms();
	return send_simple(agent, &hello, err);
}

int main(void)
{
	struct agent agent = { .put.fd = -1, .program.stdin_fd = -1, .signal_fd = -1 };
	struct err err;

	if (prepare(&agent, &err) == 0)
		serve(&agent);
	else
		(void)dprintf(STDERR_FILENO, "mayfly-agent: %s\n", err.msg); /* seen when the VM was given a console */
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
