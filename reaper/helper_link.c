#include "reaper/helper_link.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "loop/timer.h"

#define ATTACH_PATIENCE_MS 3000 /* of a request that waits for another helper: a process to be ended, and one to be forked */

struct helper_link {
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

static void answer(struct helper_link *link, const void *data, size_t len)
{
	void (*on_reply)(void *ctx, const void *data, size_t len) = link->on_reply;

	timer_stop(link->late);
	link->on_reply = NULL; /* the reply may ask anew */
	if (on_reply)
		on_reply(link->ctx, data, len);
}

static void let_go(struct helper_link *link)
{
	if (link->readable)
		event_free(link->readable);
	link->readable = NULL;
	close_fd(&link->fd);
}

static void lose(struct helper_link *link, const char *why)
{
	let_go(link);
	link->on_lost(link->lost_ctx, why);
	answer(link, NULL, 0);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct helper_link *link = ctx;
	ssize_t n = recv(fd, link->reply, link->reply_max, MSG_DONTWAIT | MSG_TRUNC);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		lose(link, n < 0 ? strerror(errno) : "the process ended");
	else if (!link->on_reply || (size_t)n > link->reply_max)
		lose(link, "a reply that nobody asked for");
	else
		answer(link, link->reply, (size_t)n);
}

static void on_late(void *ctx)
{
	struct helper_link *link = ctx;

	if (link->fd >= 0)
		lose(link, "no reply in time");
	else
		answer(link, NULL, 0);
}

/* A helper that is gone shows as the end of the socket, one that is stuck as the missing reply. */
static void send_request(struct helper_link *link)
{
	(void)send(link->fd, link->request, link->request_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	timer_set_ms(link->late, link->patience_ms);
}

static int watch(struct helper_link *link, int fd)
{
	link->fd = fd;
	link->readable = event_new(link->base, fd, EV_READ | EV_PERSIST, on_readable, link);
	return link->readable && event_add(link->readable, NULL) == 0 ? 0 : -ENOMEM;
}

int helper_link_new(struct event_base *base, int fd, size_t reply_max, void (*on_lost)(void *ctx, const char *why), void *ctx,
	    struct helper_link **ret, struct err *err)
{
	cleanup_(helper_link_freep) struct helper_link *link = calloc(1, sizeof(*link));

	if (!link) {
		(void)close(fd); /* ours now; nothing was written */
		return err_set(err, ERR_HOST, ENOMEM, "talk to a helper process");
	}
	link->base = base;
	link->reply_max = reply_max;
	link->reply = malloc(reply_max);
	link->on_lost = on_lost;
	link->lost_ctx = ctx;
	if (watch(link, fd) < 0 || !link->reply)
		return err_set(err, ERR_HOST, ENOMEM, "talk to a helper process");
	if (timer_new(base, on_late, link, &link->late, err) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(link);
	return 0;
}

void helper_link_call(struct helper_link *link, const void *data, size_t len, unsigned patience_ms,
	      void (*on_reply)(void *ctx, const void *data, size_t len), void *ctx)
{
	assert(!link->on_reply);
	link->on_reply = on_reply;
	link->ctx = ctx;
	link->request = data;
	link->request_len = len;
	link->patience_ms = patience_ms;
	if (link->fd >= 0)
		send_request(link);
	else
		timer_set_ms(link->late, patience_ms < ATTACH_PATIENCE_MS ? patience_ms : ATTACH_PATIENCE_MS);
}

void helper_link_attach(struct helper_link *link, int fd)
{
	let_go(link);
	if (watch(link, fd) < 0) {
		log_error("reaper.helper", "message=\"out of memory\"");
		abort();
	}
	if (link->on_reply)
		send_request(link);
}

void helper_link_free(struct helper_link *link)
{
	if (!link)
		return;
	let_go(link);
	timer_free(link->late);
	free(link->reply);
	free(link);
}
