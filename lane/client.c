#include "lane/client.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "lane/datagram.h"

#define LANE_DEADLINE_MS 60000 /* from the call, for who has no deadline of its own: lanes that hang, before, may cost twice the above */

struct call {
	TAILQ_ENTRY(call) link;
	struct lane_request request; /* with a secret and descriptors of its own */
	lane_client_fn fn;
	void *ctx;
};

TAILQ_HEAD(call_list, call);

struct lane_client {
	const char *name;
	struct event_base *base;
	int fd; /* -1 while the lane is being replaced */
	struct secret *buffer;
	struct event *readable, *timer, *kick;
	struct call *sent;	  /* NULL: none is on its way */
	uint64_t patience_boot_ms; /* when that counts as not answered */
	struct call_list waiting;
	uint64_t seq;
	void (*on_replace)(void *ctx);
	void *ctx;
};

static void call_free(struct call *call)
{
	if (!call)
		return;
	lane_request_clear(&call->request);
	free(call);
}

DEFINE_FREEP(struct call, call_free)

static void answer(struct call *call, struct lane_reply *reply, const struct err *err)
{
	call->fn(call->ctx, reply, err);
	call_free(call);
}

static void lose_lane(struct lane_client *client, const struct err *err)
{
	log_error("lane.lost", "lane=%s message=\"%s\"", client->name, err->msg);
	if (client->readable)
		event_free(TAKE_PTR(client->readable));
	close_fd(&client->fd);
	if (client->sent)
		answer(TAKE_PTR(client->sent), NULL, err);
	client->on_replace(client->ctx);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* For whichever ends first: what was sent, or one of those that wait. */
static void set_timer(struct lane_client *client)
{
	uint64_t now = clock_boot_ms(), first = UINT64_MAX, wait_ms;
	struct timeval wait;
	struct call *call;

	if (client->sent)
		first = client->patience_boot_ms;
	TAILQ_FOREACH(call, &client->waiting, link)
		first = least(first, call->request.deadline_boot_ms);
	if (first == UINT64_MAX) {
		event_del(client->timer);
		return;
	}
	wait_ms = first > now ? least(first - now, LANE_PATIENCE_MS) : 0; /* it looks again; CLOCK_BOOTTIME may jump */
	wait = (struct timeval){ .tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000 };
	(void)event_add(client->timer, &wait); /* a timer that exists needs no memory */
}

/* A call may have waited until shortly before its deadline; the lane that gets it then is not to blame for that. */
static uint64_t patience_boot_ms(const struct lane_request *request)
{
	uint64_t now = clock_boot_ms(), soonest = now + LANE_PATIENCE_LEAST_MS;
	uint64_t ends = request->deadline_boot_ms > soonest ? request->deadline_boot_ms : soonest;

	return least(ends, now + LANE_PATIENCE_MS);
}

static void send_next(struct lane_client *client)
{
	struct call *call = TAILQ_FIRST(&client->waiting);
	struct err err;

	if (call && !client->sent && client->fd >= 0) {
		TAILQ_REMOVE(&client->waiting, call, link);
		client->sent = call;
		client->patience_boot_ms = patience_boot_ms(&call->request);
		if (lane_send_request(client->fd, client->buffer, &call->request, ++client->seq, &err) < 0)
			lose_lane(client, &err);
	}
	set_timer(client);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	send_next(arg);
}

static void lose_patience(struct lane_client *client)
{
	const struct lane_request *request = &client->sent->request;
	const char *vm_id = lane_request_vm_id(request);
	struct err err;

	(void)err_set(&err, ERR_BUSY, ETIMEDOUT, "the %s lane did not answer '%s'%s%s in time", client->name,
		      lane_op_name(request->op), vm_id[0] ? " for workspace " : "", vm_id);
	lose_lane(client, &err);
}

/* A callback may make calls, which come last and are not late. */
static void give_up_waiting(struct lane_client *client)
{
	uint64_t now = clock_boot_ms();
	struct call_list late = TAILQ_HEAD_INITIALIZER(late);
	struct call *call, *next;

	for (call = TAILQ_FIRST(&client->waiting); call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->request.deadline_boot_ms > now)
			continue;
		TAILQ_REMOVE(&client->waiting, call, link);
		TAILQ_INSERT_TAIL(&late, call, link);
	}
	while ((call = TAILQ_FIRST(&late))) {
		struct err err;

		(void)err_set(&err, ERR_BUSY, ETIME, "the %s lane did not come to '%s' before its deadline", client->name,
			      lane_op_name(call->request.op));
		TAILQ_REMOVE(&late, call, link);
		answer(call, NULL, &err);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct lane_client *client = arg;

	(void)fd, (void)what;
	if (client->sent && clock_boot_ms() >= client->patience_boot_ms)
		lose_patience(client);
	give_up_waiting(client);
	send_next(client);
}

static void take_reply(struct lane_client *client, struct lane_reply *reply, uint64_t seq, const struct err *fault)
{
	struct err err;

	if (client->sent && seq == client->seq && lane_reply_answers(reply, &client->sent->request)) {
		answer(TAKE_PTR(client->sent), reply, fault->kind == ERR_NONE ? NULL : fault);
		return;
	}
	(void)err_set(&err, ERR_BUG, EPROTO, "the %s lane answered a request that was not made", client->name);
	lose_lane(client, &err);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	cleanup_(lane_reply_clear) struct lane_reply reply = { 0 };
	struct lane_client *client = arg;
	struct err err, fault;
	uint64_t seq;
	int r = lane_receive_reply(fd, client->buffer, &reply, &fault, &seq, &err);

	(void)what;
	if (r == -EAGAIN)
		return;
	if (r < 0)
		lose_lane(client, &err);
	else
		take_reply(client, &reply, seq, &fault);
	send_next(client);
}

struct lane_client *lane_client_new(struct event_base *base, const char *name, void (*on_replace)(void *ctx), void *ctx)
{
	struct lane_client *client = calloc(1, sizeof(*client));
	struct err err;

	if (!client)
		return NULL;
	client->name = name;
	client->base = base;
	client->fd = -1;
	client->on_replace = on_replace;
	client->ctx = ctx;
	TAILQ_INIT(&client->waiting);
	client->timer = evtimer_new(base, on_timer, client);
	client->kick = event_new(base, -1, 0, on_kick, client);
	if (client->timer && client->kick && secret_new(LANE_DATAGRAM_MAX, &client->buffer, &err) == 0)
		return client;
	lane_client_free(client);
	return NULL;
}

void lane_client_attach(struct lane_client *client, int fd)
{
	assert(client->fd < 0);
	client->fd = fd;
	client->readable = event_new(client->base, fd, EV_READ | EV_PERSIST, on_readable, client);
	if (!client->readable || event_add(client->readable, NULL) < 0) {
		log_error("lane.watch", "lane=%s message=\"out of memory\"", client->name);
		abort();
	}
	send_next(client);
}

static int copy_secret(const struct secret *from, struct secret **ret)
{
	struct err err;

	if (secret_new(secret_len(from), ret, &err) < 0)
		return -ENOMEM;
	memcpy(secret_data(*ret), secret_peek(from), secret_len(from));
	return 0;
}

static int copy_request(const struct lane_request *from, struct lane_request *ret)
{
	*ret = *from;
	ret->secret = NULL;
	ret->n_fds = 0;
	if (from->secret && copy_secret(from->secret, &ret->secret) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_fds; i++, ret->n_fds++) {
		ret->fds[i] = fcntl(from->fds[i], F_DUPFD_CLOEXEC, 0);
		if (ret->fds[i] < 0)
			return -ENOMEM;
	}
	return 0;
}

uint64_t lane_deadline_boot_ms(void)
{
	return clock_boot_ms() + LANE_DEADLINE_MS;
}

int lane_client_call(struct lane_client *client, const struct lane_request *request, lane_client_fn fn, void *ctx)
{
	cleanup_(call_freep) struct call *call = calloc(1, sizeof(*call));

	if (!call || copy_request(request, &call->request) < 0)
		return -ENOMEM;
	call->fn = fn;
	call->ctx = ctx;
	TAILQ_INSERT_TAIL(&client->waiting, call, link);
	call = NULL; /* it is in the list */
	event_active(client->kick, EV_TIMEOUT, 0);
	return 0;
}

void lane_client_free(struct lane_client *client)
{
	struct call *call;

	if (!client)
		return;
	call_free(client->sent);
	while ((call = TAILQ_FIRST(&client->waiting))) {
		TAILQ_REMOVE(&client->waiting, call, link);
		call_free(call);
	}
	if (client->readable)
		event_free(client->readable);
	if (client->timer)
		event_free(client->timer);
	if (client->kick)
		event_free(client->kick);
	secret_free(client->buffer);
	close_fd(&client->fd);
	free(client);
}
