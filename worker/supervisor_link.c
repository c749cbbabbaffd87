#include "worker/supervisor_link.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/fd_pass.h"
#include "base/own.h"

#define HOST_IS_FIT ENGINE_LANE_COUNT

int supervisor_ask_lane(int supervisor_fd, enum engine_lane lane)
{
	uint8_t byte = (uint8_t)lane;

	return send(supervisor_fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

/* One that is lost costs the next engine a look. */
void supervisor_tell_fit(int supervisor_fd)
{
	uint8_t byte = HOST_IS_FIT;

	(void)send(supervisor_fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int supervisor_receive_lane(int supervisor_fd, enum engine_lane *ret_lane, int *ret_fd)
{
	cleanup_fd int fd = -1;
	size_t n_fds = 0;
	uint8_t byte;

	if (fd_receive(supervisor_fd, &byte, 1, &fd, 1, &n_fds, 0) != 1 || n_fds != 1 || byte >= ENGINE_LANE_COUNT)
		return -EPIPE;
	*ret_lane = (enum engine_lane)byte;
	*ret_fd = take_fd(&fd);
	return 0;
}

enum engine_wish engine_receive_wish(int engine_fd, enum engine_lane *ret_lane)
{
	uint8_t byte;

	if (recv(engine_fd, &byte, 1, MSG_DONTWAIT) != 1 || byte > HOST_IS_FIT)
		return ENGINE_WISH_NONE;
	if (byte == HOST_IS_FIT)
		return ENGINE_WISH_FIT;
	*ret_lane = (enum engine_lane)byte;
	return ENGINE_WISH_LANE;
}

void engine_give_lane(int engine_fd, enum engine_lane lane, int lane_fd)
{
	uint8_t byte = (uint8_t)lane;

	(void)fd_send(engine_fd, &byte, 1, &lane_fd, 1, 0);
}
