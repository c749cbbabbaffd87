/* The disk lane: volumes are made and destroyed here, and nowhere else in a worker. */
#include <string.h>

#include "base/own.h"
#include "host/disk.h"
#include "host/scratch.h"
#include "worker/lane/serve.h"

/* Who asks holds the lease: a disk that is there was left by an attempt that could not remove it. */
static int make_disk(const struct host_place *place, const struct lane_request *request, struct secret **ret_key, int *ret_fd,
		     struct err *err)
{
	int r = disk_format(place, request->id, request->disk_mib, ret_key, ret_fd, err);

	if (r != -EEXIST)
		return r;
	r = disk_erase(place, request->id, err);
	if (r < 0)
		err->kind = ERR_BUSY; /* this workspace cannot be made here now; the host is none the worse for others */
	return r < 0 ? r : disk_format(place, request->id, request->disk_mib, ret_key, ret_fd, err);
}

static int op_format(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		     int fds[LANE_MAX_FDS], struct err *err)
{
	cleanup_(secret_freep) struct secret *key = NULL;
	int r = make_disk(&context->setup->place, request, &key, &fds[0], err);
	struct err why;

	if (r < 0 && err->kind == ERR_HOST && scratch_look(&context->setup->place, &why) < 0)
		*err = why; /* a library says EIO for a file system that is full */
	if (r < 0)
		return r;
	memcpy(reply->key, secret_peek(key), LANE_KEY_BYTES);
	reply->n_fds = 1;
	return 0;
}

static int op_look(struct lane_context *context, const struct lane_request *request, struct lane_reply *reply,
		   int fds[LANE_MAX_FDS], struct err *err)
{
	(void)request, (void)reply, (void)fds;
	return scratch_look(&context->setup->place, err);
}

static const lane_op_fn ops[LANE_OP_COUNT] = {
	[LANE_OP_DISK_FORMAT] = op_format,
	[LANE_OP_DISK_DESTROY_KEY] = lane_op_destroy_key,
	[LANE_OP_DISK_ERASE] = lane_op_erase,
	[LANE_OP_DISK_LOOK] = op_look,
};

int lane_disk_main(int socket_fd, const struct lane_setup *setup)
{
	struct lane_context context = { .setup = setup };

	return lane_serve(socket_fd, &context, ops);
}
