/* The stages in which the guest is spoken to: the conversation of wire/frame.h up to `ready`, seen from the engine.
 *
 * BOOT   opens the channel and waits for `hello`, in its version, or, in a clone, for the VMM to say that it goes on where its template was
 *        saved: then its agent listens. What it is told at once is its `setup`: before it the agent takes nothing of a task's.
 * GUEST  when the disk is attached, sends `mount` and waits for `ready`.
 * WARM   of a template, which has neither: sends `warm` and waits for `warmed`. The blank disk that its launcher gave it is mounted then,
 *        and its clones find theirs mounted. What the image wanted to have running may be missing: then clones of it start their
 *        programs as others do.
 * Then frames belong to the programs (exec.c), each to the one that it names. A frame of a program that has left is late, and
 * dropped; one of a program that never was, and any other frame, is a fault of the workspace: an agent speaks in order.
 * Once the workspace is to end nothing is heard any more. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/random.h"
#include "worker/vmm/control.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/channel.h"
#include "worker/workspace/stages.h"

#define MOUNT_MS 30000 /* ~100 ms on an idle host under TCG */
#define WARM_MS	 30000 /* an interpreter with its libraries: a second or two */
#define SAVE_MS	 10000 /* 4 to 18 ms */
#define RESTORE_LEAST_MS 1000 /* 30 ms; where a template booted in less than this, too */

uint64_t stage_guest_longest_ms(const struct workspace *workspace)
{
	return workspace->host->boot_ms + (workspace->plan->start == WORKSPACE_START_TEMPLATE ? WARM_MS + SAVE_MS : MOUNT_MS);
}

/* A clone that is slower than a boot is of no use. */
static uint64_t restore_ms(const struct workspace *workspace)
{
	uint64_t boot_ms = workspace->plan->template->boot_ms;

	return boot_ms > RESTORE_LEAST_MS ? boot_ms : RESTORE_LEAST_MS;
}

static void give_time(struct workspace *workspace, uint64_t ms)
{
	workspace->guest.deadline_mono_ms = clock_mono_ms() + ms;
}

static void set_up(struct workspace *workspace)
{
	uint8_t entropy[FRAME_ENTROPY_BYTES];
	char name[32];
	int len = snprintf(name, sizeof(name), "mayfly-%.8s", workspace->vm_id);

	workspace->guest.is_set_up = true;
	random_fill(entropy, sizeof(entropy));
	workspace_send(workspace, &(struct frame){ .type = FRAME_SETUP,
						   .version = FRAME_VERSION,
						   .data = entropy,
						   .len = sizeof(entropy),
						   .realtime_ns = clock_wall_ns(),
						   .hostname = { .text = name, .len = (size_t)len } });
	explicit_bzero(entropy, sizeof(entropy));
}

static void end_boot(struct workspace *workspace)
{
	struct err err;

	if (workspace->host->backend->control->agent_listens(workspace->vm.control, &err) < 0) {
		workspace_fault(workspace, "", &err);
		return;
	}
	workspace->took.boot_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_VMM);
	if (workspace->plan->start != WORKSPACE_START_TEMPLATE)
		set_up(workspace);
	workspace_stage_is_ready(workspace, WORKSPACE_STAGE_BOOT);
}

static void take_hello(struct workspace *workspace, const struct frame *frame)
{

	if (frame->version == FRAME_VERSION)
		end_boot(workspace);
	else
		workspace_guest_fault(workspace, "its agent speaks another version; rebuild the kernel bundle with 'mayfly image build'");
}

void stage_boot_on_restored(void *ctx, const struct err *err)
{
	struct workspace *workspace = ctx;

	if (err) {
		workspace_fault(workspace, "", err);
		return;
	}
	give_time(workspace, workspace->host->boot_ms); /* for its disk */
	end_boot(workspace);
}

static void take_warmed(struct workspace *workspace, const struct frame *frame)
{
	if (frame->error.len)
		log_warn("guest.warm", "vm=%s image=%s message=\"%.*s\"", workspace->vm_id, workspace->plan->image, (int)frame->error.len,
			 frame->error.text);
	workspace_stage_is_ready(workspace, WORKSPACE_STAGE_WARM);
}

static void take_ready(struct workspace *workspace)
{
	workspace->took.setup_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_GUEST);
	workspace->host->on_works(workspace->host->ctx);
	workspace_stage_is_ready(workspace, WORKSPACE_STAGE_GUEST);
}

static void take_fail(struct workspace *workspace, const struct frame *frame)
{
	char why[256];

	(void)snprintf(why, sizeof(why), "%.*s", (int)frame->error.len, frame->error.text); /* cut at its size */
	workspace_guest_fault(workspace, why);
}

static bool take_program_frame(struct workspace *workspace, const struct frame *frame)
{
	struct workspace_program *program;

	LIST_FOREACH(program, &workspace->programs, link)
		if (program->exec == frame->exec)
			return program->on_frame(program->ctx, frame);
	if (frame->exec > workspace->n_programs)
		workspace_guest_fault(workspace, "its agent spoke of a program that was never started");
	return true;
}

static bool on_frame(void *ctx, const struct frame *frame)
{
	struct workspace *workspace = ctx;

	if (workspace->state >= WORKSPACE_ENDING)
		return true;
	if (frame->exec)
		return take_program_frame(workspace, frame);
	if (frame->type == FRAME_HELLO && workspace->plan->start != WORKSPACE_START_CLONE &&
	    workspace->stages[WORKSPACE_STAGE_BOOT] == STAGE_STARTING)
		take_hello(workspace, frame);
	else if (frame->type == FRAME_READY && workspace->stages[WORKSPACE_STAGE_GUEST] == STAGE_STARTING)
		take_ready(workspace);
	else if (frame->type == FRAME_WARMED && workspace->stages[WORKSPACE_STAGE_WARM] == STAGE_STARTING)
		take_warmed(workspace, frame);
	else if (frame->type == FRAME_FAIL)
		take_fail(workspace, frame);
	else
		workspace_guest_fault(workspace, "its agent spoke out of turn");
	return true;
}

static void on_broken(void *ctx, const struct err *err)
{
	bool is_garbage = err->errnum == EBADMSG || err->errnum == E2BIG;
	struct workspace *workspace = ctx;

	if (is_garbage || workspace->vm.guard_fd < 0) /* else it ended, and the guard is about to say why */
		workspace_fault(workspace, "", err);
}

static const struct channel_events channel_events = { .on_frame = on_frame, .on_broken = on_broken };

static int open_channel(struct workspace *workspace, struct err *err)
{
	return channel_open(workspace->host->base, take_fd(&workspace->guest.fd), &channel_events, workspace, &workspace->guest.channel,
			    err);
}

/* The VMM stage brought the channel's socket; its first frame may be there already. */
void stage_boot_start(struct workspace *workspace)
{
	struct err err;

	give_time(workspace, workspace->host->boot_ms);
	if (open_channel(workspace, &err) < 0)
		workspace_fault(workspace, "", &err);
}

void stage_boot_restore(struct workspace *workspace)
{
	struct err err;

	give_time(workspace, restore_ms(workspace));
	if (open_channel(workspace, &err) < 0 || workspace->host->backend->control->restore(workspace->vm.control, &err) < 0)
		workspace_fault(workspace, "", &err);
}

void stage_boot_stop(struct workspace *workspace)
{
	channel_close(TAKE_PTR(workspace->guest.channel));
	close_fd(&workspace->guest.fd);
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_BOOT);
}

void stage_guest_start(struct workspace *workspace)
{
	give_time(workspace, MOUNT_MS);
	workspace_send(workspace, &(struct frame){ .type = FRAME_MOUNT });
}

void stage_guest_stop(struct workspace *workspace)
{
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_GUEST); /* from here on it is not heard */
}

void stage_warm_start(struct workspace *workspace)
{
	give_time(workspace, WARM_MS);
	workspace_send(workspace, &(struct frame){ .type = FRAME_WARM, .version = FRAME_VERSION, .has_disk = true });
}

void stage_warm_stop(struct workspace *workspace)
{
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_WARM);
}

void stage_guest_give_time_to_save(struct workspace *workspace)
{
	give_time(workspace, SAVE_MS);
}

/* Whose turn is it, between the VMM's start and READY? */
static const char *what_is_late(const struct workspace *workspace)
{
	const enum stage_status *stages = workspace->stages;
	bool is_clone = workspace->plan->start == WORKSPACE_START_CLONE;

	if (stages[WORKSPACE_STAGE_BOOT] == STAGE_STARTING)
		return is_clone ? "it did not go on from its template in time" : "it did not boot in time";
	if (stages[WORKSPACE_STAGE_GUEST] == STAGE_STARTING)
		return "it did not mount its disk in time";
	if (stages[WORKSPACE_STAGE_WARM] == STAGE_STARTING)
		return "what its image wants to have running was not there in time";
	if (stages[WORKSPACE_STAGE_SAVE] == STAGE_STARTING)
		return "its VMM did not save it in time";
	return stages[WORKSPACE_STAGE_BOOT] == STAGE_READY ? "its VMM did not open its disk in time" : NULL;
}

void stage_guest_tick(struct workspace *workspace, uint64_t now_mono_ms)
{
	const char *what;

	if (workspace->state != WORKSPACE_MAKING || workspace->stages[WORKSPACE_STAGE_VMM] != STAGE_READY ||
	    now_mono_ms < workspace->guest.deadline_mono_ms)
		return;
	what = what_is_late(workspace);
	if (what)
		workspace_guest_fault(workspace, what);
}
