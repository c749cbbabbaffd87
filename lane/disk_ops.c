/* What lanes do with disks: they are made and destroyed here, and nowhere else in a worker. */
#include "host/disk.h"

#include "base/own.h"
#include "host/scratch.h"
#include "lane/ops.h"

/* Who asks holds the lease: a disk that is there was left by an attempt that could not remove it. */
static int make_disk(const struct host_place *place, const struct lane_disk_format *format, struct secret **ret_key,
		     int *ret_fd, struct err *err)
{
	int r = disk_format(place, format->vm_id, format->disk_mib, ret_key, ret_fd, err);

	if (r != -EEXIST)
		return r;
	r = disk_erase(place, format->vm_id, err);
	if (r < 0)
		err->kind = ERR_BUSY; /* this workspace cannot be made here now; the host is none the worse for others */
	return r < 0 ? r : disk_format(place, format->vm_id, format->disk_mib, ret_key, ret_fd, err);
}

int lane_op_disk_format(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	int r = make_disk(&context->setup->place, &request->of.disk_format, &reply->secret, &reply->fds[0], err);
	struct err why;

	if (r < 0 && err->kind == ERR_HOST && scratch_look(&context->setup->place, &why) < 0)
		*err = why; /* a library says EIO for a file system that is full */
	if (r < 0)
		return r;
	reply->of.disk_format.drive = DRIVE_FILE;
	reply->n_fds = 1;
	return 0;
}

int lane_op_disk_destroy_key(struct lane_context *context, struct lane_request *request, struct lane_reply *reply,
			     struct err *err)
{
	return disk_destroy_key(&context->setup->place, request->of.vm.vm_id, &reply->of.destroy_key.is_key_destroyed, err);
}

int lane_op_disk_erase(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	(void)reply;
	return disk_erase(&context->setup->place, request->of.vm.vm_id, err);
}

int lane_op_disk_look(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	(void)request, (void)reply;
	return scratch_look(&context->setup->place, err);
}
