#include "reaper/ask.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/timer.h"

struct ask {
	int fd;
	struct event *readable;
	struct timer *late;
	size_t reply_max;
	uint8_t *reply;
	void (*on_fault)(void *ctx, const char *why);
	void *fault_ctx;
	void (*on_reply)(void *ctx, const void *data, size_t len); /* NULL: nothing is asked */
	void *ctx;
};

static void fault(struct ask *ask, const char *why)
{
	(void)event_del(ask->readable); /* fails only for an event that was never made */
	timer_stop(ask->late);
	ask->on_reply = NULL;
	ask->on_fault(ask->fault_ctx, why);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct ask *ask = ctx;
	ssize_t n = recv(fd, ask->reply, ask->reply_max, MSG_DONTWAIT | MSG_TRUNC);
	void (*on_reply)(void *ctx, const void *data, size_t len) = ask->on_reply;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		fault(ask, n < 0 ? strerror(errno) : "the process ended");
	else if (!on_reply || (size_t)n > ask->reply_max)
		fault(ask, "a reply that nobody asked for");
	else {
		timer_stop(ask->late);
		ask->on_reply = NULL; /* the reply may ask anew */
		on_reply(ask->ctx, ask->reply, (size_t)n);
	}
}

static void on_late(void *ctx)
{
	fault(ctx, "no reply in time");
}

int ask_new(struct event_base *base, int fd, size_t reply_max, void (*on_fault)(void *ctx, const char *why), void *ctx,
	    struct ask **ret, struct err *err)
{
	cleanup_(ask_freep) struct ask *ask = calloc(1, sizeof(*ask));

	if (!ask) {
		(void)close(fd); /* ours now; nothing was written */
		return err_set(err, ERR_HOST, ENOMEM, "talk to a helper process");
	}
	ask->fd = fd;
	ask->reply_max = reply_max;
	ask->reply = malloc(reply_max);
	ask->on_fault = on_fault;
	ask->fault_ctx = ctx;
	ask->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, ask);
	if (!ask->reply || !ask->readable || event_add(ask->readable, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "talk to a helper process");
	if (timer_new(base, on_late, ask, &ask->late, err) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(ask);
	return 0;
}

void ask_send(struct ask *ask, const void *data, size_t len, unsigned patience_ms,
	      void (*on_reply)(void *ctx, const void *data, size_t len), void *ctx)
{
	assert(!ask->on_reply);
	ask->on_reply = on_reply;
	ask->ctx = ctx;
	/* A helper that is gone shows as the end of the socket, one that is stuck as the missing reply. */
	(void)send(ask->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	timer_set_ms(ask->late, patience_ms);
}

void ask_free(struct ask *ask)
{
	if (!ask)
		return;
	if (ask->readable)
		event_free(ask->readable);
	timer_free(ask->late);
	close_fd(&ask->fd);
	free(ask->reply);
	free(ask);
}
