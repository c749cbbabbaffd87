/* The disk stage makes the encrypted volume and removes its files; the key stage hands the volume to the VMM and destroys
 * its key, as soon as the VMM, which has it too, is dead. Both speak to the disk lane. */
#include "worker/stages.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/engine.h"

#define LANE_TRIES 3 /* of destroying and erasing: a lane that died is replaced in between */

static int call_disk_lane(struct job *job, enum lane_op op, lane_client_fn fn)
{
	struct lane_request request = { .op = op, .deadline_boot_ms = clock_boot_ms() + LANE_DEADLINE_MS };

	memcpy(request.of.vm.vm_id, job->task->id, sizeof(request.of.vm.vm_id)); /* every one's first field */
	if (op == LANE_OP_DISK_FORMAT) {
		request.of.disk_format.form = DISK_FORM_LUKS1;
		request.of.disk_format.disk_mib = job->task->disk_mib;
	}
	return lane_client_call(job->engine->lanes[ENGINE_LANE_DISK], &request, fn, job);
}

static void on_formatted(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct job *job = ctx;

	job->is_disk_pending = false;
	job_mark_timing(job, RESULT_TIMING_DISK, job->stage_mono_ns[STAGE_DISK]);
	if (lane_err) {
		job_fault(job, "disk_mib", lane_err);
	} else {
		job->disk_key = TAKE_PTR(reply->secret);
		job->disk_fd = take_fd(&reply->fds[0]);
		job_stage_ready(job, STAGE_DISK);
	}
	if (job->stages[STAGE_KEY] == STAGE_STOPPING)
		stage_key_stop(job);
}

void stage_disk_start(struct job *job)
{
	struct err err;

	if (!job->engine->driver->is_real) {
		job_stage_ready(job, STAGE_DISK);
		return;
	}
	job->has_disk = job->is_disk_pending = true;
	if (call_disk_lane(job, LANE_OP_DISK_FORMAT, on_formatted) < 0) {
		job->has_disk = job->is_disk_pending = false;
		(void)err_set(&err, ERR_HOST, ENOMEM, "ask for a disk");
		job_fault(job, "disk_mib", &err);
	}
}

static void forget_disk(struct job *job)
{
	job->has_disk = false;
	job_stage_stopped(job, STAGE_DISK);
}

static void leave_disk(struct job *job, const char *why)
{
	log_error("disk.left", "id=%s message=\"%s; the reaper will find it\"", job->task->id, why);
	forget_disk(job);
}

static void on_erased(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct job *job = ctx;

	(void)reply;
	if (err && ++job->n_erase_tries < LANE_TRIES && call_disk_lane(job, LANE_OP_DISK_ERASE, on_erased) == 0)
		return;
	if (err)
		leave_disk(job, err->msg);
	else
		forget_disk(job);
}

void stage_disk_stop(struct job *job)
{
	close_fd(&job->disk_fd);
	job->n_erase_tries = 0;
	if (!job->has_disk)
		forget_disk(job);
	else if (call_disk_lane(job, LANE_OP_DISK_ERASE, on_erased) < 0)
		leave_disk(job, "no memory to ask for its end");
}

/* Whatever the lane sees, this disk lost what the guest wrote; only what the lane sees counts against the host. */
static void on_looked(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct job *job = ctx;
	struct err err;

	(void)reply;
	job->is_disk_pending = false;
	if (lane_err)
		err = *lane_err;
	else
		(void)err_set(&err, ERR_BUSY, 0, "the microVM says that its disk cannot be written, where this host can");
	job_fault(job, "", &err);
	if (job->stages[STAGE_KEY] == STAGE_STOPPING)
		stage_key_stop(job);
}

void stage_disk_look(struct job *job)
{
	struct err err;

	if (job->is_disk_pending)
		return; /* it is being made: nobody can write there yet */
	job->is_disk_pending = true;
	if (call_disk_lane(job, LANE_OP_DISK_LOOK, on_looked) == 0)
		return;
	job->is_disk_pending = false;
	(void)err_set(&err, ERR_BUSY, ENOMEM, "look at a disk");
	job_fault(job, "", &err);
}

void stage_key_start(struct job *job)
{
	struct err err;

	if (!job->engine->driver->is_real) {
		job_stage_ready(job, STAGE_KEY);
		return;
	}
	if (job->engine->driver->attach_disk(job->vmm, job->disk_fd, job->disk_key, &err) < 0)
		job_fault(job, "", &err);
}

static void on_key_destroyed(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct job *job = ctx;

	if (err && ++job->n_erase_tries < LANE_TRIES &&
	    call_disk_lane(job, LANE_OP_DISK_DESTROY_KEY, on_key_destroyed) == 0)
		return;
	if (err)
		log_error("disk.key", "id=%s message=\"%s; the reaper will destroy it\"", job->task->id, err->msg);
	job->result.is_key_destroyed = reply && !err && reply->of.destroy_key.is_key_destroyed && !job->is_vm_left;
	job_mark_timing(job, RESULT_TIMING_ERASE, job->end_mono_ns);
	job_stage_stopped(job, STAGE_KEY);
}

/* Also called again by the answer to a format, or to a look, that was on its way when the job ended. */
void stage_key_stop(struct job *job)
{
	if (job->is_disk_pending)
		return;
	secret_free(TAKE_PTR(job->disk_key));
	job->n_erase_tries = 0;
	if (!job->has_disk || call_disk_lane(job, LANE_OP_DISK_DESTROY_KEY, on_key_destroyed) < 0)
		job_stage_stopped(job, STAGE_KEY);
}
