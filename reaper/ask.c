#include "reaper/ask.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "loop/timer.h"

#define ATTACH_PATIENCE_MS 3000 /* of a request that waits for another helper: a process to be ended, and one to be forked */

struct ask {
	struct event_base *base;
	int fd; /* -1: lost */
	struct event *readable;
	struct timer *late;
	size_t reply_max;
	uint8_t *reply;
	void (*on_lost)(void *ctx, const char *why);
	void *lost_ctx;
	const void *request; /* at hand; borrowed */
	size_t request_len;
	unsigned patience_ms;
	void (*on_reply)(void *ctx, const void *data, size_t len); /* NULL: nothing is asked */
	void *ctx;
};

static void answer(struct ask *ask, const void *data, size_t len)
{
	void (*on_reply)(void *ctx, const void *data, size_t len) = ask->on_reply;

	timer_stop(ask->late);
	ask->on_reply = NULL; /* the reply may ask anew */
	if (on_reply)
		on_reply(ask->ctx, data, len);
}

static void let_go(struct ask *ask)
{
	if (ask->readable)
		event_free(ask->readable);
	ask->readable = NULL;
	close_fd(&ask->fd);
}

static void lose(struct ask *ask, const char *why)
{
	let_go(ask);
	ask->on_lost(ask->lost_ctx, why);
	answer(ask, NULL, 0);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct ask *ask = ctx;
	ssize_t n = recv(fd, ask->reply, ask->reply_max, MSG_DONTWAIT | MSG_TRUNC);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		lose(ask, n < 0 ? strerror(errno) : "the process ended");
	else if (!ask->on_reply || (size_t)n > ask->reply_max)
		lose(ask, "a reply that nobody asked for");
	else
		answer(ask, ask->reply, (size_t)n);
}

static void on_late(void *ctx)
{
	struct ask *ask = ctx;

	if (ask->fd >= 0)
		lose(ask, "no reply in time");
	else
		answer(ask, NULL, 0);
}

/* A helper that is gone shows as the end of the socket, one that is stuck as the missing reply. */
static void send_request(struct ask *ask)
{
	(void)send(ask->fd, ask->request, ask->request_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	timer_set_ms(ask->late, ask->patience_ms);
}

static int watch(struct ask *ask, int fd)
{
	ask->fd = fd;
	ask->readable = event_new(ask->base, fd, EV_READ | EV_PERSIST, on_readable, ask);
	return ask->readable && event_add(ask->readable, NULL) == 0 ? 0 : -ENOMEM;
}

int ask_new(struct event_base *base, int fd, size_t reply_max, void (*on_lost)(void *ctx, const char *why), void *ctx,
	    struct ask **ret, struct err *err)
{
	cleanup_(ask_freep) struct ask *ask = calloc(1, sizeof(*ask));

	if (!ask) {
		(void)close(fd); /* ours now; nothing was written */
		return err_set(err, ERR_HOST, ENOMEM, "talk to a helper process");
	}
	ask->base = base;
	ask->reply_max = reply_max;
	ask->reply = malloc(reply_max);
	ask->on_lost = on_lost;
	ask->lost_ctx = ctx;
	if (watch(ask, fd) < 0 || !ask->reply)
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
	ask->request = data;
	ask->request_len = len;
	ask->patience_ms = patience_ms;
	if (ask->fd >= 0)
		send_request(ask);
	else
		timer_set_ms(ask->late, patience_ms < ATTACH_PATIENCE_MS ? patience_ms : ATTACH_PATIENCE_MS);
}

void ask_attach(struct ask *ask, int fd)
{
	let_go(ask);
	if (watch(ask, fd) < 0) {
		log_error("reaper.helper", "message=\"out of memory\"");
		abort();
	}
	if (ask->on_reply)
		send_request(ask);
}

void ask_free(struct ask *ask)
{
	if (!ask)
		return;
	let_go(ask);
	timer_free(ask->late);
	free(ask->reply);
	free(ask);
}
