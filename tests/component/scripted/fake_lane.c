#include "tests/component/scripted/fake_lane.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd_pass.h"
#include "base/own.h"
#include "lane/datagram.h"

typedef void (*say_fn)(struct fake_lane *lane, unsigned long number);

static void send_bytes(struct fake_lane *lane, const void *data, size_t len, const int *fds, size_t n_fds)
{
	if (lane->fd >= 0)
		(void)fd_send(lane->fd, data, len, fds, n_fds, MSG_DONTWAIT); /* an engine that does not listen hears nothing */
}

/* A good reply, but for what `spoil` does to its bytes, with `n_fds` descriptors, -1: as many as there have to be. */
static void send_spoilt(struct fake_lane *lane, void (*spoil)(uint8_t *bytes, size_t *len, unsigned long number), unsigned long number,
			int n_fds)
{
	struct lane_reply reply = { .op = lane->request.op };
	uint8_t bytes[LANE_DATAGRAM_MAX];
	size_t len, n_more;

	if (lane->request.op == LANE_OP_NONE)
		return; /* it was never asked for anything */
	lane->on_do(lane->ctx, lane, &reply);
	len = lane_reply_encode(&reply, NULL, lane->seq, bytes);
	n_more = n_fds < 0 ? reply.n_fds : (size_t)n_fds;
	while (reply.n_fds < n_more)
		reply.fds[reply.n_fds++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (spoil)
		spoil(bytes, &len, number);
	send_bytes(lane, bytes, len, reply.fds, n_more);
	lane_reply_clear(&reply);
}

static void say_ok(struct fake_lane *lane, unsigned long number)
{
	send_spoilt(lane, NULL, number, -1);
}

static void flip(uint8_t *bytes, size_t *len, unsigned long number)
{
	bytes[number % *len] ^= 1;
}

static void say_flip(struct fake_lane *lane, unsigned long number)
{
	send_spoilt(lane, flip, number, -1);
}

static void cut(uint8_t *bytes, size_t *len, unsigned long number)
{
	(void)bytes;
	*len -= number < *len ? number : *len - 1;
}

static void say_cut(struct fake_lane *lane, unsigned long number)
{
	send_spoilt(lane, cut, number, -1);
}

static void say_fds(struct fake_lane *lane, unsigned long number)
{
	send_spoilt(lane, NULL, 0, (int)number);
}

static void say_bytes(struct fake_lane *lane, unsigned long number)
{
	static const uint8_t bytes[8192];

	assert(number <= sizeof(bytes));
	send_bytes(lane, bytes, number, NULL, 0);
}

static void send_fault(struct fake_lane *lane, enum err_kind kind, unsigned long number)
{
	struct lane_reply reply = { .op = lane->request.op };
	uint8_t bytes[LANE_DATAGRAM_MAX];
	struct err err;

	if (lane->request.op == LANE_OP_NONE)
		return;
	(void)err_set(&err, kind, number ? (int)number : EIO, "the script says so");
	send_bytes(lane, bytes, lane_reply_encode(&reply, &err, lane->seq, bytes), NULL, 0);
}

static void say_input(struct fake_lane *lane, unsigned long number)
{
	send_fault(lane, ERR_INPUT, number);
}

static void say_busy(struct fake_lane *lane, unsigned long number)
{
	send_fault(lane, ERR_BUSY, number);
}

static void say_host(struct fake_lane *lane, unsigned long number)
{
	send_fault(lane, ERR_HOST, number);
}

static void say_bug(struct fake_lane *lane, unsigned long number)
{
	send_fault(lane, ERR_BUG, number);
}

static void say_close(struct fake_lane *lane, unsigned long number)
{
	(void)number;
	fake_lane_close(lane);
}

static const struct {
	const char *verb;
	say_fn say;
} verbs[] = {
	{ "ok", say_ok },	{ "flip", say_flip }, { "cut", say_cut },   { "fds", say_fds }, { "bytes", say_bytes },
	{ "input", say_input }, { "busy", say_busy }, { "host", say_host }, { "bug", say_bug }, { "close", say_close },
};

bool fake_lane_say(struct fake_lane *lane, const struct script_word *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].verb, word->verb) == 0) {
			verbs[i].say(lane, word->number);
			return true;
		}
	return false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct fake_lane *lane = arg;
	struct lane_request request;
	struct err err;
	int r = lane_receive_request(fd, lane->buffer, &request, &lane->seq, &err);

	(void)what;
	if (r < 0) {
		assert(r == -EPIPE); /* the engine wants another, or has ended; it says nothing impossible */
		fake_lane_close(lane);
		return;
	}
	lane_request_clear(&request); /* what it brought is not needed */
	lane->request = request;
	lane->on_request(lane->ctx, lane);
}

void fake_lane_attach(struct fake_lane *lane, int fd)
{
	struct err err;

	lane->fd = fd;
	lane->request.op = LANE_OP_NONE;
	assert(secret_new(LANE_DATAGRAM_MAX, &lane->buffer, &err) == 0);
	lane->readable = event_new(lane->base, fd, EV_READ | EV_PERSIST, on_readable, lane);
	assert(lane->readable && event_add(lane->readable, NULL) == 0);
}

void fake_lane_close(struct fake_lane *lane)
{
	if (lane->readable)
		event_free(TAKE_PTR(lane->readable));
	secret_free(TAKE_PTR(lane->buffer));
	close_fd(&lane->fd);
}
