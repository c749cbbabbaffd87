/* What lanes do with disks: they are made and destroyed here, and nowhere else in a worker. */
#include "host/disk/disk.h"

#include "base/own.h"
#include "host/disk/scratch.h"
#include "lane/ops.h"

int lane_op_disk_format(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	const struct lane_disk_format *format = &request->of.disk_format;
	cleanup_(drive_clear) struct drive drive = { 0 };
	int r = disk_format(&context->setup->place, format->form, format->vm_id, format->disk_mib, &drive, err);
	struct err why = { 0 }; /* all of it is sent */

	if (r < 0 && err->kind == ERR_HOST && scratch_look(&context->setup->place, &why) < 0)
		*err = why; /* a library says EIO for a file system that is full */
	if (r == 0)
		lane_reply_give_drive(reply, &drive);
	return r;
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
