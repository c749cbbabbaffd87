#include "worker/lane_link.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/own.h"
#include "worker/lane/lane.h"

struct call {
	TAILQ_ENTRY(call) link;
	struct lane_request request;
	lane_link_fn fn;
	void *ctx;
};

TAILQ_HEAD(call_list, call);

struct lane_link {
	const char *name;
	struct event_base *base;
	int fd; /* -1 while the lane is being replaced */
	struct event *readable, *patience, *kick;
	struct call_list calls;
	bool is_busy; /* the first call was sent */
	uint64_t seq;
	void (*on_replace)(void *ctx);
	void *ctx;
};

static void answer(struct lane_link *link, const struct lane_reply *reply, int *fds, const struct err *err)
{
	struct call *call = TAILQ_FIRST(&link->calls);

	TAILQ_REMOVE(&link->calls, call, link);
	link->is_busy = false;
	event_del(link->patience);
	call->fn(call->ctx, reply, fds, err);
	free(call);
}

static void lose_lane(struct lane_link *link, const struct err *err)
{
	log_error("lane.lost", "lane=%s message=\"%s\"", link->name, err->msg);
	if (link->readable)
		event_free(link->readable);
	link->readable = NULL;
	close_fd(&link->fd);
	if (link->is_busy)
		answer(link, NULL, NULL, err);
	link->on_replace(link->ctx);
}

static void send_next(struct lane_link *link)
{
	const struct timeval patience = { .tv_sec = LANE_LINK_PATIENCE_MS / 1000 };
	struct call *call = TAILQ_FIRST(&link->calls);
	struct err err;

	if (!call || link->is_busy || link->fd < 0)
		return;
	call->request.magic = LANE_MAGIC;
	call->request.seq = ++link->seq;
	link->is_busy = true;
	if (lane_send(link->fd, &call->request, &err) < 0)
		lose_lane(link, &err);
	else
		(void)event_add(link->patience, &patience); /* a timer that exists needs no memory */
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_next(arg);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct lane_link *link = arg;
	struct err err;

	(void)fd;
	(void)what;
	(void)err_set(&err, ERR_BUSY, ETIMEDOUT, "the %s lane did not answer '%s' for workspace %s in %d ms", link->name,
		      lane_op_name((enum lane_op)TAILQ_FIRST(&link->calls)->request.op),
		      TAILQ_FIRST(&link->calls)->request.id, LANE_LINK_PATIENCE_MS);
	lose_lane(link, &err);
}

static void take_reply(struct lane_link *link, struct lane_reply *reply, int *fds, size_t n_fds)
{
	struct err err = { .kind = (enum err_kind)reply->err_kind, .errnum = -reply->rc };

	if (!link->is_busy || reply->seq != link->seq) {
		(void)err_set(&err, ERR_BUG, EPROTO, "the %s lane answered a request that was not made", link->name);
		lose_lane(link, &err);
	} else {
		memcpy(err.msg, reply->msg, sizeof(err.msg));
		answer(link, reply, fds, reply->rc < 0 ? &err : NULL);
	}
	for (size_t i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct lane_link *link = arg;
	int fds[LANE_MAX_FDS] = { -1, -1, -1, -1 };
	struct lane_reply reply;
	struct err err;
	size_t n_fds = 0;
	int r = lane_receive(fd, &reply, fds, &n_fds, &err);

	(void)what;
	if (r == -EAGAIN)
		return;
	if (r < 0)
		lose_lane(link, &err);
	else
		take_reply(link, &reply, fds, n_fds);
	explicit_bzero(&reply, sizeof(reply));
	send_next(link);
}

struct lane_link *lane_link_new(struct event_base *base, const char *name, void (*on_replace)(void *ctx), void *ctx)
{
	struct lane_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->name = name;
	link->base = base;
	link->fd = -1;
	link->on_replace = on_replace;
	link->ctx = ctx;
	TAILQ_INIT(&link->calls);
	link->patience = evtimer_new(base, on_patience, link);
	link->kick = event_new(base, -1, 0, on_kick, link);
	if (link->patience && link->kick)
		return link;
	lane_link_free(link);
	return NULL;
}

void lane_link_attach(struct lane_link *link, int fd)
{
	assert(link->fd < 0);
	link->fd = fd;
	link->readable = event_new(link->base, fd, EV_READ | EV_PERSIST, on_readable, link);
	if (!link->readable || event_add(link->readable, NULL) < 0) {
		log_error("lane.watch", "lane=%s message=\"out of memory\"", link->name);
		abort();
	}
	send_next(link);
}

int lane_link_call(struct lane_link *link, const struct lane_request *request, lane_link_fn fn, void *ctx)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->request = *request;
	call->fn = fn;
	call->ctx = ctx;
	TAILQ_INSERT_TAIL(&link->calls, call, link);
	event_active(link->kick, EV_TIMEOUT, 0);
	return 0;
}

void lane_link_free(struct lane_link *link)
{
	if (!link)
		return;
	while (!TAILQ_EMPTY(&link->calls)) {
		struct call *call = TAILQ_FIRST(&link->calls);

		TAILQ_REMOVE(&link->calls, call, link);
		free(call);
	}
	if (link->readable)
		event_free(link->readable);
	if (link->patience)
		event_free(link->patience);
	if (link->kick)
		event_free(link->kick);
	close_fd(&link->fd);
	free(link);
}
