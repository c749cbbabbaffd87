/* Saving a template and restoring a clone, by what QEMU has for moving a VM to another host.
 *
 * The guest's memory is not moved: it is a file that the template shares with nobody but its successors (x-ignore-shared), so the state is
 * that of the devices. A template is saved while it runs: QEMU stops it at the end, and a clone goes on by itself.
 *
 * All commands are one write: QEMU reads QMP byte by byte, and would be waited for in between. It is over when the command was accepted and
 * the event has come, in any order, or with the first error. A VMM that says so and has done nothing harms its own clones: they do not
 * start. One that says nothing is ended by who has a deadline. A clone that cannot use the state exits. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "worker/vmm/qemu_session.h"

#define STATE_NAME "state"
#define STATE_URI  "fd:6" /* of a clone: QEMU_FD_CLONE_STATE of lane/qemu_command.h, counted from 3 */

static void end_move(struct vmm *vmm, const struct err *err)
{
	enum qemu_move move = vmm->move;

	vmm->move = MOVE_NONE;
	if (move == MOVE_SAVE)
		vmm->events->on_saved(vmm->ctx, err);
	else
		vmm->events->on_restored(vmm->ctx, err);
}

static void fail_move(struct vmm *vmm, const char *why)
{
	struct err err = { 0 };

	(void)err_set(&err, ERR_BUSY, 0, "QEMU could not %s: %s", vmm->move == MOVE_SAVE ? "save its state" : "go on from a template", why);
	end_move(vmm, &err);
}

/* A clone's success is that it runs: the event about the migration comes later, and would have to be asked for. */
static void take_event(struct vmm *vmm, const struct qmp_message *message)
{
	if (vmm->move == MOVE_RESTORE && strcmp(message->text, "RESUME") == 0)
		vmm->is_done = true;
	if (vmm->move == MOVE_SAVE && strcmp(message->text, "MIGRATION") == 0) {
		if (strcmp(message->status, "completed") == 0)
			vmm->is_done = true;
		if (strcmp(message->status, "failed") == 0 || strcmp(message->status, "cancelled") == 0)
			fail_move(vmm, message->status);
	}
}

void qemu_snapshot_take(struct vmm *vmm, const struct qmp_message *message)
{
	if (vmm->move == MOVE_NONE)
		return;
	if (message->kind == QMP_KIND_ERROR && message->id >= COMMAND_IGNORE_SHARED)
		fail_move(vmm, message->text);
	else if (message->kind == QMP_KIND_EVENT)
		take_event(vmm, message);
	else if (message->kind == QMP_KIND_RETURN && message->id == (vmm->move == MOVE_SAVE ? COMMAND_MIGRATE : COMMAND_INCOMING))
		vmm->has_returned = true;
	if (vmm->move != MOVE_NONE && vmm->has_returned && vmm->is_done)
		end_move(vmm, NULL);
}

static int start_move(struct vmm *vmm, enum qemu_move move, const struct buf *out, struct err *err)
{
	int r = qemu_send(vmm, out->data, out->len, -1, err);

	if (r < 0)
		return r;
	vmm->move = move;
	vmm->has_returned = vmm->is_done = false;
	return 0;
}

static int encode_ignore_shared(struct buf *out, bool wants_events)
{
	if (wants_events)
		return qmp_encode(out, "migrate-set-capabilities", COMMAND_IGNORE_SHARED, "{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities",
				  "capability", "x-ignore-shared", "state", 1, "capability", "events", "state", 1);
	return qmp_encode(out, "migrate-set-capabilities", COMMAND_IGNORE_SHARED, "{s:[{s:s, s:b}]}", "capabilities", "capability",
			  "x-ignore-shared", "state", 1);
}

static int send_save(struct vmm *vmm, int state_fd, struct buf *get_fd, struct buf *migrate, struct err *err)
{
	int r = qmp_encode(get_fd, "getfd", COMMAND_GET_FD, "{s:s}", "fdname", STATE_NAME);

	if (r == 0)
		r = encode_ignore_shared(migrate, true);
	if (r == 0)
		r = qmp_encode(migrate, "migrate", COMMAND_MIGRATE, "{s:s}", "uri", "fd:" STATE_NAME);
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "the commands that save a template");
	r = qemu_send(vmm, get_fd->data, get_fd->len, state_fd, err);
	return r < 0 ? r : start_move(vmm, MOVE_SAVE, migrate, err);
}

int qemu_save(struct vmm *vmm, int state_fd, struct err *err)
{
	struct buf get_fd = { 0 }, migrate = { 0 };
	int r;

	assert(vmm->move == MOVE_NONE);
	r = send_save(vmm, state_fd, &get_fd, &migrate, err);
	buf_free(&get_fd);
	buf_free(&migrate);
	return r;
}

int qemu_restore(struct vmm *vmm, struct err *err)
{
	struct buf out = { 0 };
	int r = encode_ignore_shared(&out, false);

	assert(vmm->move == MOVE_NONE);
	if (r == 0)
		r = qmp_encode(&out, "migrate-incoming", COMMAND_INCOMING, "{s:s}", "uri", STATE_URI);
	r = r < 0 ? err_set(err, ERR_HOST, -r, "the commands that start a clone") : start_move(vmm, MOVE_RESTORE, &out, err);
	buf_free(&out);
	return r;
}
