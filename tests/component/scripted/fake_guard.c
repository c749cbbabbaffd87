#include "tests/component/scripted/fake_guard.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"
#include "host/guard.h"

struct fake_guard {
	int fd; /* -1: closed, by this end */
	struct event *readable;
	void (*on_message)(void *ctx, const char *name);
	void *ctx;
	bool is_left;
};

static void send_bytes(struct fake_guard *guard, const void *data, size_t len)
{
	if (guard->fd >= 0)
		(void)send(guard->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT); /* a full socket is an engine that does not listen */
}

static void let_go(struct fake_guard *guard)
{
	if (guard->readable)
		event_free(TAKE_PTR(guard->readable));
	close_fd(&guard->fd);
}

static const struct {
	const char *verb;
	struct vm_exit vm_exit;
} ends[] = {
	{ "ended", { .wait_status = 7 << 8 } },
	{ "killed", { .wait_status = SIGKILL } },
	{ "deadline", { .wait_status = SIGKILL, .is_deadline = 1 } },
	{ "oom", { .wait_status = SIGKILL, .is_out_of_memory = 1 } },
	{ "absurd", { .wait_status = INT32_MAX, .is_deadline = UINT32_MAX, .is_out_of_memory = UINT32_MAX,
		      .reserved = UINT32_MAX, .max_rss_kib = UINT64_MAX, .cpu_ms = UINT64_MAX } },
};

bool fake_guard_say(struct fake_guard *guard, const struct script_word *word)
{
	static const char bytes[4096] = "what is this";
	const struct guard_message message = { .magic = GUARD_MAGIC, .type = (uint32_t)word->number };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (strcmp(ends[i].verb, word->verb) == 0) {
			if (guard->fd >= 0)
				guard_tell_end(guard->fd, &ends[i].vm_exit);
			return true;
		}
	if (strcmp(word->verb, "bytes") == 0) {
		assert(word->number <= sizeof(bytes));
		send_bytes(guard, bytes, word->number);
	} else if (strcmp(word->verb, "type") == 0) { /* of the size of the largest */
		send_bytes(guard, &message, sizeof(message));
	} else if (strcmp(word->verb, "close") == 0) {
		let_go(guard);
	} else {
		return false;
	}
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct fake_guard *guard = arg;
	struct guard_message message;
	int r = guard_hear(fd, &message);

	(void)what;
	assert(r != -EBADMSG); /* it is the engine's */
	if (r == 0) {
		guard->on_message(guard->ctx, message.type == GUARD_KILL ? "kill" : "deadline");
	} else if (r != -EAGAIN) {
		guard->is_left = true;
		event_del(guard->readable);
	}
}

struct fake_guard *fake_guard_new(struct event_base *base, int fd, void (*on_message)(void *ctx, const char *name), void *ctx)
{
	struct fake_guard *guard = calloc(1, sizeof(*guard));

	assert(guard);
	*guard = (struct fake_guard){ .fd = fd, .on_message = on_message, .ctx = ctx };
	guard->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, guard);
	assert(guard->readable && event_add(guard->readable, NULL) == 0);
	return guard;
}

void fake_guard_free(struct fake_guard *guard)
{
	let_go(guard);
	free(guard);
}

bool fake_guard_is_left(const struct fake_guard *guard)
{
	return guard->fd < 0 || guard->is_left;
}
