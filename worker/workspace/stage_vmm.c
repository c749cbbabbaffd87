/* The VMM stage: a jailed VMM under its guard, and its control socket.
 *
 * The vmm lane starts it and hands back three sockets: control, guest channel, guard; of a template also what it is to be saved to. A clone's
 * request brings its template. The guard's is the lifeline: KILL on it, or its
 * end, kills the VM. What the guard says on it is how the VM ended; then the control group is removed and nothing is left to destroy.
 * When the guard does not answer, or has died, the lane destroys the VM by its name. When that fails, too, the workspace goes on
 * without it: a result does not wait for ever for what cannot be killed; its slot is lost, and the reaper goes on trying. */
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/guard.h"
#include "worker/vmm/control.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/lanes.h"
#include "worker/workspace/stages.h"

#define KILL_PATIENCE_MS 5000 /* from asking the guard to the lane's own kill */
#define GUARD_SLACK_MS 15000  /* the guard's deadline beyond the engine's own timers: it never comes first */
#define DESTROY_TRIES 3
#define RESTART_LIMIT 16 /* of the guest's kernel, in one boot */

static void fault(struct workspace *workspace, int errnum, const char *what)
{
	struct err err;

	(void)err_set(&err, ERR_HOST, errnum, "%s", what);
	workspace_fault(workspace, "", &err);
}

/* How a VM ended is the guard's to tell, as long as there is one. */
static void on_control_broken(void *ctx, const struct err *err)
{
	struct workspace *workspace = ctx;
	bool has_ended = err->errnum == 0 || err->errnum == EPIPE || err->errnum == ECONNRESET;

	if (!has_ended || workspace->vm.guard_fd < 0)
		workspace_fault(workspace, "", err);
}

/* A guest that finds its timer mismeasured does this (docs/decisions/2026-11-24-a-guest-looks-at-its-timer.md); one that cannot
 * boot at all does nothing else. */
static void on_restart(void *ctx)
{
	struct workspace *workspace = ctx;
	char why[80];

	log_warn("vm.restart", "vm=%s id=%s n=%u", workspace->vm_id, workspace->plan->owner_id, ++workspace->vm.n_restarts);
	if (workspace->vm.n_restarts < RESTART_LIMIT)
		return;
	(void)snprintf(why, sizeof(why), "it started its kernel %d times without saying hello", RESTART_LIMIT);
	workspace_guest_fault(workspace, why);
}

static const struct vmm_events vmm_events = {
	.on_disk = stage_key_on_disk,	    .on_saved = stage_save_on_saved,	     .on_restored = stage_boot_on_restored,
	.on_restart = on_restart,	    .on_io_error = stage_disk_on_io_error, .on_broken = on_control_broken,
};

static void forget_vm(struct workspace *workspace)
{
	workspace->vm.may_exist = false;
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_VMM);
}

/* Until the reaper has ended it, its processes may live: nobody else may have their uid, memory and disk. Where one does, or nobody
 * can say, it is not claimed that the key is gone. */
static void leave_vm(struct workspace *workspace, bool is_empty, const char *why)
{
	workspace->is_vm_left = !is_empty;
	log_error("vm.left", "vm=%s id=%s slot=%u message=\"%s; the reaper will find it, the slot is not used again\"", workspace->vm_id,
		  workspace->plan->owner_id, workspace->reservation.slot, why);
	workspace->has_reservation = false;
	if (!workspace->reservation.is_idle) /* the slots of tasks are what counts */
		workspace->host->on_slot_lost(workspace->host->ctx);
	forget_vm(workspace);
}

static void on_destroyed(void *ctx, struct lane_reply *reply, const struct err *err);

static int ask_to_destroy(struct workspace *workspace)
{
	return lanes_ask(workspace, workspace->host->vmm_lane, LANE_OP_VM_DESTROY, on_destroyed);
}

static void on_destroyed(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct workspace *workspace = ctx;

	bool is_tried = reply || (err && err->errnum != ETIME); /* else the lane never came to it */

	workspace->vm.n_destroy_tries += is_tried;
	if (err && workspace->vm.n_destroy_tries < DESTROY_TRIES && ask_to_destroy(workspace) == 0)
		return;
	if (err)
		leave_vm(workspace, err->errnum == EBUSY, err->msg); /* see cgroup_destroy() */
	else
		forget_vm(workspace);
}

static void let_go_of_guard(struct workspace *workspace)
{
	struct workspace_vm *vm = &workspace->vm;

	if (vm->guard_readable)
		event_free(TAKE_PTR(vm->guard_readable));
	if (vm->guard_patience)
		event_free(TAKE_PTR(vm->guard_patience));
	close_fd(&vm->guard_fd);
}

static void destroy_by_lane(struct workspace *workspace)
{
	let_go_of_guard(workspace);
	workspace->vm.n_destroy_tries = 0;
	if (ask_to_destroy(workspace) < 0)
		leave_vm(workspace, false, "no memory to ask for its end");
}

static void explain_exit(struct workspace *workspace, const struct vm_exit *vm_exit)
{
	struct err err;

	if (workspace->state >= WORKSPACE_ENDING)
		return;
	if (vm_exit->is_deadline) {
		workspace->events->on_over(workspace->ctx, workspace->vm.is_guarded_by_ttl ? WORKSPACE_OVER_TTL : WORKSPACE_OVER_GUARD);
		return;
	}
	if (vm_exit->is_out_of_memory)
		(void)err_set(&err, ERR_BUSY, 0, "the microVM used more memory than it may");
	else if (WIFSIGNALED(vm_exit->wait_status))
		(void)err_set(&err, ERR_BUSY, 0, "the microVM was killed by signal %d", WTERMSIG(vm_exit->wait_status));
	else
		(void)err_set(&err, ERR_BUSY, 0, "the microVM ended by itself with status %d", WEXITSTATUS(vm_exit->wait_status));
	workspace_fault(workspace, "", &err);
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	struct workspace *workspace = arg;
	struct vm_exit vm_exit;
	struct err err;
	int r = guard_receive(fd, &vm_exit, &err);

	(void)what;
	if (r == -EAGAIN)
		return;
	let_go_of_guard(workspace);
	if (r == 0) {
		workspace->vm.may_exist = false;
		explain_exit(workspace, &vm_exit);
	} else {
		workspace_fault(workspace, "", &err);
	}
	if (workspace->stages[WORKSPACE_STAGE_VMM] != STAGE_STOPPING)
		return;
	if (workspace->vm.may_exist)
		destroy_by_lane(workspace);
	else
		workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_VMM);
}

static void on_guard_patience(evutil_socket_t fd, short what, void *arg)
{
	struct workspace *workspace = arg;

	(void)fd, (void)what;
	log_warn("vm.guard", "vm=%s id=%s message=\"the guard did not kill the VM in %d ms\"", workspace->vm_id, workspace->plan->owner_id,
		 KILL_PATIENCE_MS);
	destroy_by_lane(workspace);
}

static int take_sockets(struct workspace *workspace, struct lane_reply *reply, struct err *err)
{
	struct event_base *base = workspace->host->base;
	struct workspace_vm *vm = &workspace->vm;

	vm->guard_fd = take_fd(&reply->fds[2]);
	workspace->guest.fd = take_fd(&reply->fds[1]);
	if (workspace->plan->start == WORKSPACE_START_TEMPLATE)
		workspace->saved = (struct workspace_saved){ take_fd(&reply->fds[3]), take_fd(&reply->fds[4]), reply->of.vm_start.build_id };
	vm->guard_readable = event_new(base, vm->guard_fd, EV_READ | EV_PERSIST, on_guard, workspace);
	vm->guard_patience = evtimer_new(base, on_guard_patience, workspace);
	if (!vm->guard_readable || !vm->guard_patience || event_add(vm->guard_readable, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch a guard");
	return workspace->host->backend->control->open(base, take_fd(&reply->fds[0]), &vmm_events, workspace,
						       &vm->control, err);
}

static void on_started(void *ctx, struct lane_reply *reply, const struct err *lane_err)
{
	struct workspace *workspace = ctx;
	struct err err;

	workspace->vm.is_pending = false;
	if (lane_err && lane_err->errnum == ETIME)
		workspace->vm.may_exist = false; /* the lane never came to it */
	if (lane_err) {
		workspace_fault(workspace, "image", lane_err);
	} else {
		workspace->took.vmm_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_VMM);
		if (take_sockets(workspace, reply, &err) < 0)
			workspace_fault(workspace, "", &err);
		else
			workspace_stage_is_ready(workspace, WORKSPACE_STAGE_VMM);
	}
	if (workspace->stages[WORKSPACE_STAGE_VMM] == STAGE_STOPPING)
		stage_vmm_stop(workspace);
}

/* Whatever hangs or dies from now on, the guard ends it then: when its time-to-live is over, or all that it is planned for. */
static uint64_t guard_deadline_boot_ms(uint64_t ttl_left_ms, uint64_t longest_ms, bool *ret_is_ttl)
{
	*ret_is_ttl = ttl_left_ms < longest_ms;
	return clock_boot_ms() + (*ret_is_ttl ? ttl_left_ms : longest_ms) + GUARD_SLACK_MS;
}

int stage_vmm_adopt(struct workspace *workspace, const struct workspace_plan *plan, struct err *err)
{
	bool is_ttl;
	int r = guard_set_deadline(workspace->vm.guard_fd, guard_deadline_boot_ms(plan->ttl_ms, plan->use_ms, &is_ttl), err);

	if (r == 0)
		workspace->vm.is_guarded_by_ttl = is_ttl;
	return r;
}

/* They stay the template's. */
static void bring_template(struct lane_request *request, const struct template *template)
{
	request->fds[0] = template->memory_fd;
	request->fds[1] = template->state_fd;
	request->n_fds = 2;
	request->of.vm_start.build_id = template->build_id;
}

void stage_vmm_start(struct workspace *workspace)
{
	const struct workspace_plan *plan = workspace->plan;
	uint64_t now = clock_mono_ms(), left_ms = workspace->ttl_ends_mono_ms > now ? workspace->ttl_ends_mono_ms - now : 0;
	uint64_t longest_ms = stage_guest_longest_ms(workspace) + plan->use_ms;
	struct lane_request request = { .op = LANE_OP_VM_START,
					.deadline_boot_ms = lane_deadline_boot_ms(),
					.of.vm_start = { .launcher = workspace->host->backend->starts[plan->start].launcher,
							 .slot = workspace->reservation.slot,
							 .cpus = plan->cpus,
							 .memory_mib = plan->memory_mib,
							 .disk_mib = plan->disk_mib,
							 .guard_deadline_boot_ms = guard_deadline_boot_ms(
								 left_ms, longest_ms, &workspace->vm.is_guarded_by_ttl) } };

	memcpy(request.of.vm_start.vm_id, workspace->vm_id, sizeof(workspace->vm_id));
	(void)snprintf(request.of.vm_start.image, sizeof(request.of.vm_start.image), "%s", plan->image); /* an ident */
	if (plan->start == WORKSPACE_START_CLONE)
		bring_template(&request, plan->template);
	workspace->vm.may_exist = workspace->vm.is_pending = true;
	if (lane_client_call(workspace->host->vmm_lane, &request, on_started, workspace) == 0)
		return;
	workspace->vm.may_exist = workspace->vm.is_pending = false;
	fault(workspace, ENOMEM, "ask for a microVM");
}

/* Also called again by the answer to a start that was on its way when the end was decided. */
void stage_vmm_stop(struct workspace *workspace)
{
	const struct timeval patience = { .tv_sec = KILL_PATIENCE_MS / 1000 };
	struct workspace_vm *vm = &workspace->vm;
	struct err ignored;

	if (vm->is_pending)
		return;
	close_fd(&workspace->guest.fd); /* of a start that was answered after the boot stage had stopped */
	if (vm->control)
		workspace->host->backend->control->close(TAKE_PTR(vm->control));
	if (!vm->may_exist)
		workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_VMM);
	else if (vm->guard_fd < 0 || !vm->guard_patience || guard_kill(vm->guard_fd, &ignored) < 0)
		destroy_by_lane(workspace);
	else
		(void)event_add(vm->guard_patience, &patience); /* a timer that exists needs no memory */
}
