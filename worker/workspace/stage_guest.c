/* The boot stage and the guest stage: the conversation of wire/frame.h up to `ready`, seen from the engine.
 *
 * BOOT  opens the channel and waits for `hello`, in its version; the answer is `setup`. GUEST, when the disk is attached, sends
 *       `mount` and waits for `ready`.
 * Then frames belong to the programs (exec.c), each to the one that it names. A frame of a program that has left is late, and
 * dropped; one of a program that never was, and any other frame, is a fault of the workspace: an agent speaks in order.
 * Once the workspace is to end nothing is heard any more. */
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/random.h"
#include "worker/vmm/control.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/channel.h"
#include "worker/workspace/stages.h"

#define MOUNT_MS 30000 /* ~100 ms on an idle host under TCG */

uint64_t stage_guest_longest_ms(const struct workspace *workspace)
{
	return workspace->host->boot_ms + MOUNT_MS;
}

void stage_boot_set_up(struct workspace *workspace)
{
	uint8_t entropy[FRAME_ENTROPY_BYTES];

	random_fill(entropy, sizeof(entropy));
	workspace_send(workspace, &(struct frame){ .type = FRAME_SETUP,
						   .version = FRAME_VERSION,
						   .data = entropy,
						   .len = sizeof(entropy),
						   .realtime_ns = clock_wall_ns(),
						   .hostname = { .text = "mayfly", .len = 6 } });
	explicit_bzero(entropy, sizeof(entropy));
}

static void take_hello(struct workspace *workspace, const struct frame *frame)
{
	struct err err;

	if (frame->version != FRAME_VERSION) {
		workspace_guest_fault(workspace, "its agent speaks another version; rebuild the kernel bundle with 'mayfly image build'");
		return;
	}
	if (workspace->host->backend->control->agent_listens(workspace->vm.control, &err) < 0) {
		workspace_fault(workspace, "", &err);
		return;
	}
	workspace->took.boot_ms = workspace_stage_took_ms(workspace, WORKSPACE_STAGE_VMM);
	stage_boot_set_up(workspace);
	workspace_stage_is_ready(workspace, WORKSPACE_STAGE_BOOT);
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
	if (frame->type == FRAME_HELLO && workspace->stages[WORKSPACE_STAGE_BOOT] == STAGE_STARTING)
		take_hello(workspace, frame);
	else if (frame->type == FRAME_READY && workspace->stages[WORKSPACE_STAGE_GUEST] == STAGE_STARTING)
		take_ready(workspace);
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

/* The VMM stage brought the channel's socket; its first frame may be there already. */
void stage_boot_start(struct workspace *workspace)
{
	struct err err;

	workspace->guest.deadline_mono_ms = clock_mono_ms() + workspace->host->boot_ms;
	if (channel_open(workspace->host->base, take_fd(&workspace->guest.fd), &channel_events, workspace, &workspace->guest.channel,
			 &err) < 0)
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
	workspace->guest.deadline_mono_ms = clock_mono_ms() + MOUNT_MS;
	workspace_send(workspace, &(struct frame){ .type = FRAME_MOUNT });
}

void stage_guest_stop(struct workspace *workspace)
{
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_GUEST); /* from here on it is not heard */
}

/* Whose turn is it, between the VMM's start and `ready`? */
void stage_guest_tick(struct workspace *workspace, uint64_t now_mono_ms)
{
	if (workspace->state != WORKSPACE_MAKING || workspace->stages[WORKSPACE_STAGE_VMM] != STAGE_READY ||
	    now_mono_ms < workspace->guest.deadline_mono_ms)
		return;
	if (workspace->stages[WORKSPACE_STAGE_BOOT] == STAGE_STARTING)
		workspace_guest_fault(workspace, "it did not boot in time");
	else if (workspace->stages[WORKSPACE_STAGE_GUEST] == STAGE_STARTING)
		workspace_guest_fault(workspace, "it did not mount its disk in time");
	else if (workspace->stages[WORKSPACE_STAGE_BOOT] == STAGE_READY)
		workspace_guest_fault(workspace, "its VMM did not open its disk in time");
}
