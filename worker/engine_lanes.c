#include "worker/engine_lanes.h"

static void on_supervisor(evutil_socket_t fd, short what, void *arg)
{
	struct engine_lanes *lanes = arg;
	enum engine_lane lane;
	int lane_fd;

	(void)what;
	if (supervisor_receive_lane(fd, &lane, &lane_fd) < 0)
		lanes->on_lost(lanes->ctx, "the supervisor is gone");
	else
		lane_client_attach(lanes->clients[lane], lane_fd);
}

static void replace(struct engine_lanes *lanes, enum engine_lane lane)
{
	if (supervisor_ask_lane(lanes->supervisor_fd, lane) < 0)
		lanes->on_lost(lanes->ctx, "the supervisor cannot be asked for a new lane");
}

static void on_replace_disk(void *ctx)
{
	replace(ctx, ENGINE_LANE_DISK);
}

static void on_replace_vmm(void *ctx)
{
	replace(ctx, ENGINE_LANE_VMM);
}

int engine_lanes_open(struct engine_lanes *lanes, struct event_base *base, const int fds[ENGINE_LANE_COUNT],
		      struct err *err)
{
	lanes->clients[ENGINE_LANE_DISK] = lane_client_new(base, "disk", on_replace_disk, lanes);
	lanes->clients[ENGINE_LANE_VMM] = lane_client_new(base, "vmm", on_replace_vmm, lanes);
	for (int i = 0; i < ENGINE_LANE_COUNT; i++) {
		if (!lanes->clients[i])
			return err_set(err, ERR_HOST, ENOMEM, "the engine's lanes");
		lane_client_attach(lanes->clients[i], fds[i]);
	}
	lanes->readable = event_new(base, lanes->supervisor_fd, EV_READ | EV_PERSIST, on_supervisor, lanes);
	if (!lanes->readable || event_add(lanes->readable, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "the engine's supervisor");
	return 0;
}

void engine_lanes_close(struct engine_lanes *lanes)
{
	for (int i = 0; i < ENGINE_LANE_COUNT; i++)
		lane_client_free(lanes->clients[i]);
	if (lanes->readable)
		event_free(lanes->readable);
}
