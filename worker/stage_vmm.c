/* The VMM stage: a jailed VMM under its guard, its control socket and the guest channel. The guard's socket is the lifeline:
 * KILL on it, or its end, kills the VM; what the guard says on it is how the VM ended (host/guard.h). */
#include "worker/stages.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/guard.h"
#include "worker/channel.h"
#include "worker/engine.h"

#define KILL_PATIENCE_MS 5000    /* from asking the guard to the lane's own kill */
#define GUARD_SLACK_MS 15000     /* the guard's deadline beyond the engine's own timers: it never comes first */
#define DESTROY_TRIES 3          /* then the job goes on without it: a result does not wait for ever for what cannot be killed */
#define RESTART_LIMIT 16 /* of the guest's kernel, in one boot */

static void on_disk(void *ctx, const struct err *err)
{
	struct job *job = ctx;

	if (err) {
		job_fault(job, "", err);
		return;
	}
	secret_free(TAKE_PTR(job->disk_key)); /* QEMU has the disk open and has forgotten it, too */
	close_fd(&job->disk_fd);
	job_mark_timing(job, RESULT_TIMING_KEY, job->stage_mono_ns[STAGE_KEY]);
	job_stage_ready(job, STAGE_KEY);
}

static void on_control_broken(void *ctx, const struct err *err)
{
	struct job *job = ctx;
	bool has_ended = err->errnum == 0 || err->errnum == EPIPE || err->errnum == ECONNRESET;

	if (!has_ended || job->guard_fd < 0) /* else the guard knows more: wait for it */
		job_fault(job, "", err);
}

/* A guest that finds its timer mismeasured does this (docs/decisions/2026-11-24-a-guest-looks-at-its-timer.md); one that cannot
 * boot at all does nothing else. */
static void on_restart(void *ctx)
{
	struct job *job = ctx;
	struct err err;

	log_warn("vm.restart", "id=%s n=%u", job->task->id, ++job->n_restarts);
	if (job->n_restarts < RESTART_LIMIT)
		return;
	(void)err_set(&err, ERR_BUSY, 0, "the guest: it started its kernel %d times without saying hello", RESTART_LIMIT);
	job_fault(job, "", &err);
}

static void on_io_error(void *ctx)
{
	stage_disk_look(ctx);
}

static const struct vmm_events vmm_events = {
	.on_disk = on_disk, .on_restart = on_restart, .on_io_error = on_io_error, .on_broken = on_control_broken
};

static int call_vmm_lane(struct job *job, enum lane_op op, lane_client_fn fn);

static void forget_vm(struct job *job)
{
	job->has_vm = false;
	job_stage_stopped(job, STAGE_VMM);
}

/* The reaper will find it. Until then its processes may live: nobody else may have their uid, memory and disk. Where one does, or
 * nobody can say, the result does not claim that the key is gone. */
static void leave_vm(struct job *job, bool is_empty, const char *why)
{
	job->is_vm_left = !is_empty;
	log_error("vm.left", "id=%s slot=%u message=\"%s; the reaper will find it, the slot is not used again\"", job->task->id,
		  job->reservation.slot, why);
	job->has_reservation = false;
	engine_loses_slot(job->engine);
	forget_vm(job);
}

static void on_destroyed(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct job *job = ctx;

	(void)reply;
	if (err && ++job->n_destroy_tries < DESTROY_TRIES &&
	    call_vmm_lane(job, LANE_OP_VM_DESTROY, on_destroyed) == 0)
		return;
	if (err)
		leave_vm(job, err->errnum == EBUSY, err->msg); /* see cgroup_destroy() */
	else
		forget_vm(job);
}

static void let_go_of_guard(struct job *job)
{
	if (job->guard_event)
		event_free(TAKE_PTR(job->guard_event));
	if (job->guard_deadline)
		event_free(TAKE_PTR(job->guard_deadline));
	close_fd(&job->guard_fd);
}

static void destroy_by_lane(struct job *job)
{
	let_go_of_guard(job);
	job->n_destroy_tries = 0;
	if (call_vmm_lane(job, LANE_OP_VM_DESTROY, on_destroyed) < 0)
		leave_vm(job, false, "no memory to ask for its end");
}

static void explain_exit(struct job *job, const struct vm_exit *vm_exit)
{
	struct err err;

	if (vm_exit->is_deadline && job->is_guarded_by_ttl)
		job_tell_ttl_over(job);
	else if (vm_exit->is_deadline && stage_guest_is_held_back(job))
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN,
			 "the guard ended the microVM at its deadline, while its output waited for Kafka");
	else if (vm_exit->is_deadline)
		job_tell(job, RESULT_OUTCOME_TIMED_OUT, job_has_run(job) ? RESULT_RAN_RAN : RESULT_RAN_NOT_STARTED,
			 "the guard ended the microVM at its deadline");
	else if (vm_exit->is_out_of_memory)
		(void)err_set(&err, ERR_BUSY, 0, "the microVM used more memory than it may");
	else if (WIFSIGNALED(vm_exit->wait_status))
		(void)err_set(&err, ERR_BUSY, 0, "the microVM was killed by signal %d", WTERMSIG(vm_exit->wait_status));
	else
		(void)err_set(&err, ERR_BUSY, 0, "the microVM ended by itself with status %d",
			      WEXITSTATUS(vm_exit->wait_status));
	if (!vm_exit->is_deadline)
		job_fault(job, "", &err);
}

/* The guard has removed the cgroup before it speaks: nothing is left to destroy. */
static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	struct vm_exit vm_exit = { 0 };
	struct err err;
	int r = guard_receive(fd, &vm_exit, &err);

	(void)what;
	if (r == -EAGAIN)
		return;
	if (r == 0) {
		job->has_vm = false;
		let_go_of_guard(job);
		explain_exit(job, &vm_exit);
	} else {
		let_go_of_guard(job);
		job_fault(job, "", &err);
	}
	if (job->stages[STAGE_VMM] != STAGE_STOPPING)
		return;
	if (job->has_vm)
		destroy_by_lane(job);
	else
		job_stage_stopped(job, STAGE_VMM);
}

static void on_guard_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;

	(void)fd;
	(void)what;
	log_warn("vm.guard", "id=%s message=\"the guard did not kill the VM in %d ms\"", job->task->id, KILL_PATIENCE_MS);
	destroy_by_lane(job);
}

static int open_vm(struct job *job, int *fds, struct err *err)
{
	struct engine *engine = job->engine;
	int r;

	job->guard_fd = take_fd(&fds[2]);
	job->guard_event = event_new(engine->base, job->guard_fd, EV_READ | EV_PERSIST, on_guard, job);
	job->guard_deadline = evtimer_new(engine->base, on_guard_deadline, job);
	if (!job->guard_event || !job->guard_deadline || event_add(job->guard_event, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch a guard");
	r = engine->driver->open(engine->base, take_fd(&fds[0]), &vmm_events, job, &job->vmm, err);
	if (r < 0)
		return r;
	return channel_open(engine->base, take_fd(&fds[1]), &stage_guest_events, job, &job->channel, err);
}

static void on_started(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct job *job = ctx;
	struct err err = { 0 };

	job->is_vm_pending = false;
	if (lane_err)
		err = *lane_err;
	else
		job_mark_timing(job, RESULT_TIMING_VMM, job->stage_mono_ns[STAGE_VMM]);
	if (lane_err || open_vm(job, reply->fds, &err) < 0)
		job_fault(job, "image", &err);
	else
		job_stage_ready(job, STAGE_VMM);
	job->guest_deadline_mono_ms = clock_mono_ms() + job->engine->settings->boot_ms;
	if (job->stages[STAGE_VMM] == STAGE_STOPPING)
		stage_vmm_stop(job);
}

static void fill_start(struct job *job, struct lane_vm_start *start)
{
	uint64_t now = clock_mono_ms();
	uint64_t left = job->ttl_ends_mono_ms > now ? job->ttl_ends_mono_ms - now : 0;
	uint64_t longest = stage_guest_longest_ms(job);

	job->is_guarded_by_ttl = left < longest;
	start->guard_deadline_boot_ms = clock_boot_ms() + (left < longest ? left : longest) + GUARD_SLACK_MS;
	start->launcher = LAUNCHER_QEMU;
	start->slot = job->reservation.slot;
	start->cpus = job->task->cpus;
	start->memory_mib = job->task->memory_mib;
	start->disk_mib = job->task->disk_mib;
	memcpy(start->image, job->task->image, sizeof(start->image));
}

static int call_vmm_lane(struct job *job, enum lane_op op, lane_client_fn fn)
{
	struct lane_request request = { .op = op, .deadline_boot_ms = clock_boot_ms() + LANE_DEADLINE_MS };

	memcpy(request.of.vm.vm_id, job->task->id, sizeof(request.of.vm.vm_id)); /* every one's first field */
	if (op == LANE_OP_VM_START)
		fill_start(job, &request.of.vm_start);
	return lane_client_call(job->engine->lanes[ENGINE_LANE_VMM], &request, fn, job);
}

void stage_vmm_start(struct job *job)
{
	struct err err;

	if (!job->engine->driver->is_real) {
		job_stage_ready(job, STAGE_VMM);
		return;
	}
	job->has_vm = job->is_vm_pending = true;
	job->n_restarts = 0;
	if (call_vmm_lane(job, LANE_OP_VM_START, on_started) < 0) {
		job->has_vm = job->is_vm_pending = false;
		(void)err_set(&err, ERR_HOST, ENOMEM, "ask for a microVM");
		job_fault(job, "", &err);
	}
}

/* Also called again by the answer to a start that was on its way when the job ended. */
void stage_vmm_stop(struct job *job)
{
	const struct timeval patience = { .tv_sec = KILL_PATIENCE_MS / 1000 };
	struct err err;

	if (job->is_vm_pending)
		return;
	channel_close(TAKE_PTR(job->channel));
	if (job->vmm)
		job->engine->driver->close(TAKE_PTR(job->vmm));
	if (!job->has_vm)
		job_stage_stopped(job, STAGE_VMM);
	else if (job->guard_fd < 0 || !job->guard_deadline || guard_kill(job->guard_fd, &err) < 0)
		destroy_by_lane(job);
	else
		(void)event_add(job->guard_deadline, &patience); /* a timer that exists needs no memory */
}
