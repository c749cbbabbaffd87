#include "worker/workspace/workspace.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/vm.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/channel.h"

#define MEASURE_MS 2000 /* between looks at the memory of an idle one; two small files of the kernel's */

#define TO(state) (1u << WORKSPACE_##state)

static const struct {
	const char *name;
	unsigned next; /* bits of the states that may follow */
} states[] = {
	[WORKSPACE_MAKING] = { "making", TO(READY) | TO(ENDING) },
	[WORKSPACE_READY] = { "ready", TO(PAUSED) | TO(ENDING) },
	[WORKSPACE_PAUSED] = { "paused", TO(READY) | TO(ENDING) },
	[WORKSPACE_ENDING] = { "ending", TO(GONE) },
	[WORKSPACE_GONE] = { "gone", 0 },
};
static_assert(ARRAY_SIZE(states) == WORKSPACE_STATE_COUNT, "every state has its successors");

static void set_state(struct workspace *workspace, enum workspace_state state)
{
	assert(states[workspace->state].next & (1u << state));
	workspace->state = state;
	log_debug("workspace.state", "vm=%s id=%s state=%s", workspace->vm_id, workspace->plan->owner_id, states[state].name);
}

static void wake(struct workspace *workspace)
{
	turn_ask(&workspace->turn);
}

static const struct stage *stages_of(const struct workspace *workspace)
{
	return workspace->host->backend->starts[workspace->plan->start].stages;
}

static bool has_stage(const struct workspace *workspace, size_t stage)
{
	const struct stage *stages = stages_of(workspace);

	return stages && stages[stage].start;
}

/* Stages that it does not have are as good as whatever is asked for. */
static bool stages_are(const struct workspace *workspace, unsigned bits, enum stage_status status)
{
	for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++)
		if ((bits & (1u << i)) && has_stage(workspace, i) && workspace->stages[i] != status)
			return false;
	return true;
}

static const char *const status_names[] = { [STAGE_IDLE] = "idle", [STAGE_STARTING] = "starting", [STAGE_READY] = "ready",
					   [STAGE_STOPPING] = "stopping", [STAGE_STOPPED] = "stopped" };

static void set_stage(struct workspace *workspace, size_t stage, enum stage_status status)
{
	workspace->stages[stage] = status;
	log_debug("workspace.stage", "vm=%s id=%s stage=%s status=%s", workspace->vm_id, workspace->plan->owner_id,
		  stages_of(workspace)[stage].name, status_names[status]);
}

static bool start_one(struct workspace *workspace)
{
	const struct stage *stages = stages_of(workspace);

	for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
		if (!has_stage(workspace, i) || workspace->stages[i] != STAGE_IDLE || !stages_are(workspace, stages[i].start_after, STAGE_READY))
			continue;
		set_stage(workspace, i, STAGE_STARTING);
		workspace->stage_mono_ns[i] = clock_mono_ns();
		stages[i].start(workspace);
		return true;
	}
	return false;
}

static bool stop_one(struct workspace *workspace)
{
	const struct stage *stages = stages_of(workspace);

	for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
		if (!has_stage(workspace, i) || workspace->stages[i] >= STAGE_STOPPING || !stages_are(workspace, stages[i].stop_after, STAGE_STOPPED))
			continue;
		set_stage(workspace, i, STAGE_STOPPING);
		stages[i].stop(workspace);
		return true;
	}
	return false;
}

static void go_forward(struct workspace *workspace)
{
	while (workspace->state == WORKSPACE_MAKING && start_one(workspace))
		;
	if (workspace->state != WORKSPACE_MAKING || !stages_are(workspace, ~0u, STAGE_READY))
		return;
	set_state(workspace, WORKSPACE_READY);
	workspace->events->on_ready(workspace->ctx);
}

static void tell_new_owner(struct workspace *workspace)
{
	workspace->is_ready_due = false;
	workspace->events->on_ready(workspace->ctx);
}

static void return_reservation(struct workspace *workspace)
{
	if (workspace->has_reservation)
		admission_return(workspace->host->admission, &workspace->reservation);
	workspace->has_reservation = false;
}

/* The last event is the last thing done: the workspace may be freed in it. */
static void go_backward(struct workspace *workspace)
{
	while (stop_one(workspace))
		;
	if (!workspace->is_key_told && stages_are(workspace, 1u << WORKSPACE_STAGE_KEY, STAGE_STOPPED)) {
		workspace->is_key_told = true;
		workspace->events->on_key_destroyed(workspace->ctx);
	}
	if (!stages_are(workspace, ~0u, STAGE_STOPPED))
		return;
	held_vms_remove(&workspace->held); /* what could not be removed is the reaper's now */
	set_state(workspace, WORKSPACE_GONE);
	workspace->events->on_gone(workspace->ctx);
}

static void on_turn(void *ctx)
{
	struct workspace *workspace = ctx;

	if (workspace->state == WORKSPACE_ENDING)
		go_backward(workspace);
	else if (workspace->is_ready_due)
		tell_new_owner(workspace);
	else
		go_forward(workspace);
}

struct workspace *workspace_new(const struct workspace_host *host, const struct workspace_plan *plan,
				const struct reservation *reservation, const struct workspace_events *events, void *ctx)
{
	struct workspace *workspace = calloc(1, sizeof(*workspace));

	if (!workspace)
		return NULL;
	turn_init(&workspace->turn, host->turns, on_turn, workspace);
	ident_uuid(workspace->vm_id);
	workspace->host = host;
	workspace->plan = plan;
	workspace->reservation = *reservation;
	workspace->has_reservation = true;
	workspace->events = events;
	workspace->ctx = ctx;
	workspace->vm.guard_fd = workspace->guest.fd = workspace->saved.memory_fd = workspace->saved.state_fd = -1;
	workspace->took = (struct workspace_took){ -1, -1, -1, -1, -1, -1 };
	LIST_INIT(&workspace->programs);
	return workspace;
}

void workspace_free(struct workspace *workspace)
{
	if (!workspace)
		return;
	assert(workspace->state == WORKSPACE_GONE || workspace->ttl_ends_mono_ms == 0);
	assert(LIST_EMPTY(&workspace->programs));
	return_reservation(workspace);
	close_fd(&workspace->saved.memory_fd);
	close_fd(&workspace->saved.state_fd);
	turn_cancel(&workspace->turn);
	free(workspace);
}

void workspace_begin(struct workspace *workspace)
{
	workspace->ttl_ends_mono_ms = clock_mono_ms() + workspace->plan->ttl_ms;
	if (workspace->plan->has_no_lease)
		held_vms_add(workspace->host->held_vms, &workspace->held, workspace->vm_id);
	wake(workspace);
}

void workspace_end(struct workspace *workspace)
{
	if (workspace->state >= WORKSPACE_ENDING)
		return;
	workspace->end_mono_ns = clock_mono_ns();
	set_state(workspace, WORKSPACE_ENDING);
	wake(workspace);
}

/* While it waits for a task it counts with what it takes (admission.h). */
static void measure(struct workspace *workspace, uint64_t now_mono_ms)
{
	const struct workspace_plan *plan = workspace->plan;
	struct shape shape = { plan->image, plan->cpus, plan->memory_mib, plan->disk_mib };
	uint64_t bytes;
	struct err err;

	if (!workspace->has_reservation || !workspace->reservation.is_idle || workspace->state != WORKSPACE_READY ||
	    !workspace->host->place || now_mono_ms < workspace->measure_mono_ms)
		return;
	workspace->measure_mono_ms = now_mono_ms + MEASURE_MS;
	if (vm_memory(workspace->host->place, workspace->vm_id, &bytes, &err) == 0) /* else it counts as before */
		admission_measured(workspace->host->admission, &shape, &workspace->reservation, bytes);
}

void workspace_tick(struct workspace *workspace, uint64_t now_mono_ms)
{
	if (workspace->state >= WORKSPACE_ENDING)
		return;
	measure(workspace, now_mono_ms);
	if (now_mono_ms >= workspace->ttl_ends_mono_ms)
		workspace->events->on_over(workspace->ctx, WORKSPACE_OVER_TTL);
	for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++)
		if (has_stage(workspace, i) && stages_of(workspace)[i].tick)
			stages_of(workspace)[i].tick(workspace, now_mono_ms);
}

void workspace_stage_is_ready(struct workspace *workspace, enum workspace_stage stage)
{
	if (workspace->stages[stage] != STAGE_STARTING)
		return; /* it is being stopped already */
	set_stage(workspace, stage, STAGE_READY);
	wake(workspace);
}

void workspace_stage_has_stopped(struct workspace *workspace, enum workspace_stage stage)
{
	assert(workspace->stages[stage] == STAGE_STOPPING);
	set_stage(workspace, stage, STAGE_STOPPED);
	wake(workspace);
}

int64_t workspace_stage_took_ms(const struct workspace *workspace, enum workspace_stage since)
{
	return clock_ms_since(workspace->stage_mono_ns[since]);
}

void workspace_fault(struct workspace *workspace, const char *field, const struct err *err)
{
	if (workspace->state < WORKSPACE_ENDING)
		workspace->events->on_fault(workspace->ctx, field, err);
}

void workspace_guest_fault(struct workspace *workspace, const char *why)
{
	struct err err;

	(void)err_set(&err, ERR_BUSY, 0, "the guest: %s", why);
	workspace_fault(workspace, "", &err);
}

void workspace_join(struct workspace *workspace, struct workspace_program *program)
{
	program->exec = ++workspace->n_programs;
	LIST_INSERT_HEAD(&workspace->programs, program, link);
}

void workspace_leave(struct workspace_program *program)
{
	if (program->exec)
		LIST_REMOVE(program, link);
	program->exec = 0;
}

void workspace_send(struct workspace *workspace, const struct frame *frame)
{
	struct err err;

	if (workspace->state < WORKSPACE_ENDING && workspace->guest.channel &&
	    channel_send(workspace->guest.channel, frame, &err) < 0)
		workspace_fault(workspace, "", &err);
}

void workspace_resume(struct workspace *workspace)
{
	if (workspace->guest.channel)
		channel_resume(workspace->guest.channel);
}

bool workspace_is_held_back(const struct workspace *workspace)
{
	return workspace->guest.channel && channel_is_held(workspace->guest.channel);
}
