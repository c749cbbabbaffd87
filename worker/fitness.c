#include "worker/fitness.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "worker/workspace/channel.h"
#include "lane/client.h"
#include "worker/workspace/backend.h"

#define FAULTS_MAX 3 /* in a row: one may be bad luck */
#define GUARD_SLACK_MS 15000

enum look { LOOK_NONE, LOOK_DISK, LOOK_START, LOOK_HELLO, LOOK_OVER };

struct fitness {
	struct fitness_config config;
	uint64_t n_proofs;
	unsigned n_faults; /* since the last proof */
	unsigned n_seen;   /* by a lane, since a microVM was ready, each of another task than the one before */
	char seen_id[IDENT_ID_MAX + 1];
	enum look look;
	char verdict[240]; /* "": fit */
	struct event *patience, *turn;
	struct channel *channel; /* from here on those of the look's own microVM */
	int control_fd, guard_fd;    /* not read; closing the guard's ends the microVM */
};

static void let_go(struct fitness *fitness)
{
	event_del(fitness->patience);
	channel_close(TAKE_PTR(fitness->channel));
	close_fd(&fitness->control_fd);
	close_fd(&fitness->guard_fd);
}

static void take_verdict(struct fitness *fitness)
{
	let_go(fitness);
	fitness->look = LOOK_NONE;
	if (fitness->verdict[0]) {
		fitness->config.on_unfit(fitness->config.ctx, fitness->verdict);
		return;
	}
	log_info("host.fit", "message=\"a microVM of its own starts here: tasks that do not are at fault themselves\"");
	fitness->n_faults = 0;
	fitness->n_proofs++;
	fitness->config.on_fit(fitness->config.ctx);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	take_verdict(arg);
}

/* Also from inside a callback of the channel, which cannot be closed there: the rest is for a turn of its own. */
static void __attribute__((format(printf, 2, 3))) end_look(struct fitness *fitness, const char *format, ...)
{
	va_list ap;

	if (fitness->look == LOOK_OVER)
		return;
	fitness->look = LOOK_OVER;
	va_start(ap, format);
	(void)vsnprintf(fitness->verdict, sizeof(fitness->verdict), format, ap); /* cut at its size */
	va_end(ap);
	event_active(fitness->turn, EV_TIMEOUT, 0);
}

static bool on_frame(void *ctx, const struct frame *frame)
{
	struct fitness *fitness = ctx;

	if (frame->type != FRAME_HELLO)
		end_look(fitness, "a microVM without any task does not say hello");
	else if (frame->version != FRAME_VERSION)
		end_look(fitness, "the agent in the kernel bundle speaks version %u, this worker %d; rebuild the bundle with 'mayfly image build'",
			 frame->version, FRAME_VERSION);
	else
		end_look(fitness, "%s", "");
	return true;
}

static void on_broken(void *ctx, const struct err *err)
{
	end_look(ctx, "a microVM without any task ends before its agent speaks (%s); look for guard.vmm in the log, and rebuild the kernel "
		      "bundle with 'mayfly image build'", err->msg);
}

static const struct channel_events channel_events = { .on_frame = on_frame, .on_broken = on_broken };

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct fitness *fitness = arg;

	(void)fd, (void)what;
	end_look(fitness, "a microVM without any task says nothing in boot_ms, %llu ms; rebuild the kernel bundle with 'mayfly image build'",
		 (unsigned long long)fitness->config.boot_ms);
}

/* A lane that has too much to do says nothing about its host: ask again. */
static bool is_not_tried(const struct err *err)
{
	return err && err->errnum == ETIME;
}

static void ask_disk(struct fitness *fitness);
static void ask_start(struct fitness *fitness);

static void on_started(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct fitness *fitness = ctx;
	uint64_t boot_ms = fitness->config.boot_ms;
	const struct timeval patience = { .tv_sec = (time_t)(boot_ms / 1000), .tv_usec = (suseconds_t)(boot_ms % 1000) * 1000 };
	struct err err;

	if (is_not_tried(lane_err)) {
		ask_start(fitness);
		return;
	}
	if (lane_err) {
		end_look(fitness, "%s", lane_err->msg);
		return;
	}
	fitness->look = LOOK_HELLO;
	fitness->control_fd = take_fd(&reply->fds[0]);
	fitness->guard_fd = take_fd(&reply->fds[2]);
	if (channel_open(fitness->config.base, take_fd(&reply->fds[1]), &channel_events, fitness, &fitness->channel,
			 &err) < 0)
		end_look(fitness, "%s", err.msg);
	else
		(void)event_add(fitness->patience, &patience); /* a timer that exists needs no memory */
}

static void ask_start(struct fitness *fitness)
{
	const uint64_t deadline = lane_deadline_boot_ms();
	const struct lane_request start = { .op = LANE_OP_VM_PROBE,
					    .deadline_boot_ms = deadline,
					    .of.vm_probe = { .launcher = fitness->config.launcher,
							     .guard_deadline_boot_ms = deadline + fitness->config.boot_ms +
										       GUARD_SLACK_MS } };

	fitness->look = LOOK_START;
	if (lane_client_call(fitness->config.vmm_lane, &start, on_started, fitness) < 0)
		end_look(fitness, "out of memory");
}

static void on_disk(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct fitness *fitness = ctx;

	(void)reply;
	if (is_not_tried(err))
		ask_disk(fitness);
	else if (err)
		end_look(fitness, "%s", err->msg);
	else
		ask_start(fitness);
}

static void ask_disk(struct fitness *fitness)
{
	const struct lane_request look = { .op = LANE_OP_DISK_LOOK, .deadline_boot_ms = lane_deadline_boot_ms() };

	fitness->look = LOOK_DISK;
	if (lane_client_call(fitness->config.disk_lane, &look, on_disk, fitness) < 0)
		end_look(fitness, "out of memory");
}

static void begin_look(struct fitness *fitness, const char *why)
{
	if (fitness->look != LOOK_NONE)
		return;
	log_warn("host.look", "faults=%u message=\"%s; does anything start on this host?\"", fitness->n_faults, why);
	ask_disk(fitness);
}

void fitness_fault(struct fitness *fitness, const char *task_id, const struct err *err)
{
	fitness->n_faults++;
	if (err->kind == ERR_HOST && strcmp(fitness->seen_id, task_id) != 0) {
		(void)snprintf(fitness->seen_id, sizeof(fitness->seen_id), "%s", task_id); /* an ident */
		fitness->n_seen++;
	}
	if (fitness->n_seen >= FAULTS_MAX)
		fitness->config.on_unfit(fitness->config.ctx, err->msg);
	else if (fitness->n_faults >= FAULTS_MAX)
		begin_look(fitness, err->msg);
}

void fitness_prove(struct fitness *fitness)
{
	begin_look(fitness, "this worker ended because its host was not fit");
}

void fitness_works(struct fitness *fitness)
{
	fitness->n_faults = fitness->n_seen = 0;
	fitness->seen_id[0] = '\0';
	fitness->n_proofs++;
}

uint64_t fitness_proofs(const struct fitness *fitness)
{
	return fitness->n_proofs;
}

struct fitness *fitness_new(const struct fitness_config *config)
{
	struct fitness *fitness = calloc(1, sizeof(*fitness));

	if (!fitness)
		return NULL;
	fitness->config = *config;
	fitness->control_fd = fitness->guard_fd = -1;
	fitness->patience = evtimer_new(config->base, on_patience, fitness);
	fitness->turn = event_new(config->base, -1, 0, on_turn, fitness);
	if (fitness->patience && fitness->turn)
		return fitness;
	fitness_free(fitness);
	return NULL;
}

void fitness_free(struct fitness *fitness)
{
	if (!fitness)
		return;
	if (fitness->patience) {
		let_go(fitness);
		event_free(fitness->patience);
	}
	if (fitness->turn)
		event_free(fitness->turn);
	free(fitness);
}
