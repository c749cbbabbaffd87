/* The disk lane: volumes are made and destroyed here, and nowhere else in a worker. */
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "host/disk.h"
#include "worker/lane/serve.h"

static int op_format(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		     int fds[LANE_MAX_FDS], struct err *err)
{
	cleanup_(secret_freep) struct secret *key = NULL;
	int r = disk_format(&context->setup->place, request->id, request->disk_mib, &key, &fds[0], err);

	if (r < 0)
		return r;
	memcpy(reply->key, secret_peek(key), LANE_KEY_BYTES);
	reply->n_fds = 1;
	return 0;
}

static const lane_op_fn ops[LANE_OP_COUNT] = {
	[LANE_OP_DISK_FORMAT] = op_format,
	[LANE_OP_DISK_DESTROY_KEY] = lane_op_destroy_key,
	[LANE_OP_DISK_ERASE] = lane_op_erase,
};

int lane_disk_main(int socket_fd, const struct lane_setup *setup)
{
	struct lane_context context = { .setup = setup };
	struct err err;

	if (disk_prepare_blanks(&setup->place, &err) < 0) {
		log_error("lane.blanks", "message=\"%s\"", err.msg);
		return 1;
	}
	return lane_serve(socket_fd, &context, ops);
}
