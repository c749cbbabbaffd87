#include "lane/process.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/child.h"

#define RESTART_MS 200	 /* at least, between two starts: one that dies at once must not spin */

/* It ends when its engine has. */
static _Noreturn void become_lane(const struct lane_process *lane, int fd)
{
	lane->on_child(lane->ctx);
	log_init(lane_name(lane->kind), lane->setup->log_level);
	exit(lane_main(lane->kind, fd, lane->setup)); /* exit(3): the leak check is an exit handler */
}

int lane_process_start(struct lane_process *lane, int *ret_fd, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, ERR_HOST, errno, "a socket for the %s", lane_name(lane->kind));
	lane->pid = child_fork(CHILD_STOP_BY_SOCKET);
	if (lane->pid == 0) {
		(void)close(pair[0]);
		become_lane(lane, pair[1]);
	}
	if (lane->pid < 0) {
		int r = err_set(err, ERR_HOST, errno, "fork the %s", lane_name(lane->kind));

		lane->pid = 0;
		(void)close(pair[0]);
		(void)close(pair[1]);
		return r;
	}
	(void)close(pair[1]);
	lane->started_mono_ms = clock_mono_ms();
	*ret_fd = pair[0];
	return 0;
}

static pid_t *place_of(struct lane_process *lane, pid_t pid)
{
	for (size_t i = 0; i < ARRAY_SIZE(lane->stuck); i++)
		if (lane->stuck[i] == pid)
			return &lane->stuck[i];
	return NULL;
}

static void kill_lane(struct lane_process *lane)
{
	pid_t *place = place_of(lane, 0);

	if (!lane->pid)
		return;
	if (!child_kill(lane->pid)) {
		log_error("lane.stuck", "lane=%s pid=%d message=\"killed, and hangs in the kernel; going on without it\"",
			  lane_name(lane->kind), (int)lane->pid);
		if (place)
			*place = lane->pid;
	}
	lane->pid = 0;
}

int lane_process_replace(struct lane_process *lane, int *ret_fd, struct err *err)
{
	uint64_t age_ms;

	kill_lane(lane);
	if (!place_of(lane, 0))
		return err_set(err, ERR_BUSY, EBUSY, "%d processes of the %s hang in the kernel: there is no other until one has ended",
			       LANE_STUCK_MAX, lane_name(lane->kind));
	age_ms = clock_mono_ms() - lane->started_mono_ms;
	if (age_ms < RESTART_MS)
		(void)poll(NULL, 0, (int)(RESTART_MS - age_ms));
	log_warn("lane.replaced", "lane=%s", lane_name(lane->kind));
	return lane_process_start(lane, ret_fd, err);
}

bool lane_process_has_ended(struct lane_process *lane, pid_t pid)
{
	pid_t *place = place_of(lane, pid);

	if (lane->pid == pid)
		lane->pid = 0;
	else if (place)
		*place = 0;
	else
		return false;
	return true;
}

void lane_process_leave(struct lane_process *lane)
{
	if (lane->pid && child_await(lane->pid))
		lane->pid = 0;
	kill_lane(lane);
}
