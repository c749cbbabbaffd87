#include "host/guard.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"

static size_t size_of(uint32_t type)
{
	static const size_t bodies[GUARD_MESSAGE_TYPE_COUNT] = { [GUARD_SET_DEADLINE] = sizeof(uint64_t),
								 [GUARD_ENDED] = sizeof(struct vm_exit) };

	return offsetof(struct guard_message, of) + (type < GUARD_MESSAGE_TYPE_COUNT ? bodies[type] : 0);
}

static int say(int fd, struct guard_message *message, enum guard_message_type type)
{
	message->magic = GUARD_MAGIC;
	message->type = type;
	return send(fd, message, size_of(type), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* 0, -EAGAIN, -EPIPE, -EBADMSG. A peer that ended without reading what we sent: first comes an error that says so, then what
 * it sent. */
static int hear(int fd, struct guard_message *ret)
{
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	do
		n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n < offsetof(struct guard_message, of) || ret->magic != GUARD_MAGIC || (size_t)n != size_of(ret->type))
		return -EBADMSG;
	return 0;
}

int guard_set_deadline(int fd, uint64_t deadline_boot_ms, struct err *err)
{
	struct guard_message message = { .of.deadline_boot_ms = deadline_boot_ms };
	int r = say(fd, &message, GUARD_SET_DEADLINE);

	return r < 0 ? err_set(err, ERR_BUSY, -r, "tell a guard its deadline") : 0;
}

int guard_kill(int fd, struct err *err)
{
	struct guard_message message = { 0 };
	int r = say(fd, &message, GUARD_KILL);

	return r < 0 ? err_set(err, ERR_BUSY, -r, "tell a guard to kill") : 0;
}

int guard_receive(int fd, struct vm_exit *ret, struct err *err)
{
	struct guard_message message;
	int r = hear(fd, &message);

	if (r == -EAGAIN)
		return r;
	if (r == -EPIPE)
		return err_set(err, ERR_BUSY, EPIPE, "the guard of the microVM died");
	if (r < 0 || message.type != GUARD_ENDED)
		return err_set(err, ERR_BUG, EBADMSG, "the guard of the microVM said something that no guard says");
	*ret = message.of.ended;
	return 0;
}

int guard_hear(int fd, struct guard_message *ret)
{
	int r = hear(fd, ret);

	return r == 0 && ret->type != GUARD_SET_DEADLINE && ret->type != GUARD_KILL ? -EBADMSG : r;
}

void guard_tell_end(int fd, const struct vm_exit *vm_exit)
{
	struct guard_message message = { .of.ended = *vm_exit };

	(void)say(fd, &message, GUARD_ENDED);
}
