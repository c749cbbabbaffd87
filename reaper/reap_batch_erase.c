/* The step of a batch on this host: erase, one operation of one item at a time, through the lane.
 *
 * The VM first: as long as it is there it has the key, and can write to the disk's file what was there before.
 * Nothing that follows depends on it: an item whose objects stay is reaped all the same, and the sweep finds the
 * objects again. But it has its time: what was not begun when the leases run out is not begun, because another reaper
 * has it by then, and who waits for results waits for us. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "reaper/reap_batch_steps.h"

static const enum lane_op erase_ops[] = { LANE_OP_VM_DESTROY, LANE_OP_DISK_DESTROY_KEY, LANE_OP_DISK_ERASE };

static void erase_next(struct reap_batch *batch);

static bool is_here(const struct reap_batch *batch, const struct batch_item *item)
{
	bool has_objects = item->plan == LEASE_PLAN_REAP || item->plan == LEASE_PLAN_ERASE;

	return has_objects && strcmp(item->what.lease.vm_id, "-") != 0 &&
	       strcmp(item->what.lease.host, batch->config.host) == 0;
}

static void note_why(struct reap_batch *batch, enum lane_op op, const char *why)
{
	if (!batch->erase.why_left[0])
		(void)snprintf(batch->erase.why_left, sizeof(batch->erase.why_left), "%s: %s", lane_op_name(op),
			       why); /* it fits */
}

static void note_erased(struct reap_batch *batch, struct batch_item *item, const struct lane_reply *reply,
			const struct err *err)
{
	if (reply->op == LANE_OP_VM_DESTROY)
		item->is_vm_gone = !err || err->errnum == EBUSY; /* see cgroup_destroy(): nothing is left in it */
	if (!err && reply->op == LANE_OP_DISK_DESTROY_KEY && reply->of.destroy_key.is_key_destroyed && item->is_vm_gone)
		item->what.lease.is_key_destroyed = true;
	if (err)
		note_why(batch, reply->op, err->msg);
}

/* The lane was lost over it. Another one may do the rest; but what hangs with a disk hangs again with the same disk. */
static void note_lost(struct reap_batch *batch)
{
	enum lane_op op = erase_ops[batch->erase.op];

	note_why(batch, op, "the lane hung or died");
	if (op != LANE_OP_VM_DESTROY)
		batch->erase.op = ARRAY_SIZE(erase_ops) - 1;
}

/* What was not begun in time. On a host that is only slow it is left to whoever takes it next; where erasing fails,
 * that could go on for ever, and it goes on without: its objects are found again. */
static void leave_the_rest(struct reap_batch *batch)
{
	for (; batch->erase.at < batch->n; batch->erase.at++) {
		struct batch_item *item = &batch->items[batch->erase.at];

		if (!is_here(batch, item))
			continue;
		log_warn("reaper.late", "id=%s vm_id=%s message=\"not erased: what came before it took as long as a lease\"",
			 item->what.lease.id, item->what.lease.vm_id);
		if (!batch->erase.has_failed)
			item->plan = LEASE_PLAN_LEAVE;
	}
}

static void end_item(struct reap_batch *batch)
{
	const struct reap_lease *lease = &batch->items[batch->erase.at].what.lease;
	bool is_left = batch->erase.why_left[0] != '\0';

	log_info("reaper.erased", "id=%s vm_id=%s complete=%d key_destroyed=%d", lease->id, lease->vm_id, !is_left,
		 lease->is_key_destroyed);
	batch->erase.has_failed |= is_left;
	if (is_left)
		batch->config.on_left(batch->config.ctx, lease->vm_id, lease->id, batch->erase.why_left);
	batch->erase.why_left[0] = '\0';
	batch->erase.op = 0;
	batch->erase.at++;
}

static void on_erased(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct reap_batch *batch = ctx;

	if (reply)
		note_erased(batch, &batch->items[batch->erase.at], reply, err);
	else
		note_lost(batch);
	if (++batch->erase.op == ARRAY_SIZE(erase_ops))
		end_item(batch);
	erase_next(batch);
}

static void ask_lane(struct reap_batch *batch, const char *vm_id)
{
	struct lane_request request = { .op = erase_ops[batch->erase.op],
					.deadline_boot_ms = clock_boot_ms() + LANE_PATIENCE_MS };

	(void)snprintf(request.of.vm.vm_id, sizeof(request.of.vm.vm_id), "%s", vm_id); /* the same bound */
	if (lane_client_call(batch->config.lane, &request, on_erased, batch) < 0)
		batch->config.on_fault(batch->config.ctx, "out of memory");
}

static void erase_next(struct reap_batch *batch)
{
	if (batch->erase.op == 0 && clock_mono_ms() >= batch->ours_until_mono_ms)
		leave_the_rest(batch);
	while (batch->erase.at < batch->n && !is_here(batch, &batch->items[batch->erase.at]))
		batch->erase.at++;
	if (batch->erase.at == batch->n)
		reap_batch_end_step(batch);
	else
		ask_lane(batch, batch->items[batch->erase.at].what.lease.vm_id);
}

bool step_erase(struct reap_batch *batch)
{
	memset(&batch->erase, 0, sizeof(batch->erase));
	for (size_t i = 0; i < batch->n; i++)
		if (is_here(batch, &batch->items[i])) {
			erase_next(batch);
			return true;
		}
	return false;
}
