#include "wire/lane.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/own.h"
#include "wire/task.h"

enum { TAKES_ID = 1, TAKES_IMAGE = 2, TAKES_DISK = 4, TAKES_SHAPE = 8, TAKES_OPTIONAL_ID = 16 };

static const struct {
	const char *name;
	unsigned takes;
	unsigned n_fds; /* of a good reply */
} ops[] = {
	[LANE_OP_NONE] = { "none", 0, 0 },
	[LANE_OP_DISK_FORMAT] = { "disk_format", TAKES_ID | TAKES_DISK, 1 },
	[LANE_OP_DISK_DESTROY_KEY] = { "disk_destroy_key", TAKES_ID, 0 },
	[LANE_OP_DISK_ERASE] = { "disk_erase", TAKES_ID, 0 },
	[LANE_OP_VM_START] = { "vm_start", TAKES_ID | TAKES_IMAGE | TAKES_SHAPE | TAKES_DISK, 3 },
	[LANE_OP_VM_DESTROY] = { "vm_destroy", TAKES_ID, 0 },
	[LANE_OP_DISK_LOOK] = { "disk_look", TAKES_OPTIONAL_ID, 0 },
	[LANE_OP_VM_PROBE] = { "vm_probe", TAKES_OPTIONAL_ID, 3 },
	[LANE_OP_SWEEP] = { "sweep", TAKES_OPTIONAL_ID, 0 },
};
static_assert(ARRAY_SIZE(ops) == LANE_OP_COUNT, "every lane_op has its row");

const char *lane_op_name(enum lane_op op)
{
	return (unsigned)op < LANE_OP_COUNT ? ops[op].name : "unknown";
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_good_shape(const struct lane_request *request)
{
	return request->cpus >= 1 && request->cpus <= TASK_MAX_CPUS && request->memory_mib >= TASK_MIN_MEMORY_MIB &&
	       request->memory_mib <= TASK_MAX_MEMORY_MIB && request->slot < LANE_MAX_SLOTS;
}

int lane_request_check(const void *data, size_t len, struct lane_request *ret, struct err *err)
{
	unsigned takes;

	if (len != sizeof(*ret))
		return err_set(err, ERR_BUG, EBADMSG, "a lane request of %zu bytes instead of %zu", len, sizeof(*ret));
	memcpy(ret, data, sizeof(*ret));
	if (ret->magic != LANE_MAGIC || ret->op == LANE_OP_NONE || ret->op >= LANE_OP_COUNT)
		return err_set(err, ERR_BUG, EBADMSG, "a lane request with magic %#x and op %u", ret->magic, ret->op);
	takes = ops[ret->op].takes;
	if (!is_text(ret->id, sizeof(ret->id)) || !is_text(ret->image, sizeof(ret->image)))
		return err_set(err, ERR_BUG, EBADMSG, "a lane request '%s' with unterminated text", ops[ret->op].name);
	if (takes & TAKES_ID && !ident_is_id(ret->id, strlen(ret->id)))
		return err_set(err, ERR_BUG, EBADMSG, "a lane request '%s' with a bad workspace id", ops[ret->op].name);
	if (takes & TAKES_OPTIONAL_ID && ret->id[0])
		return err_set(err, ERR_BUG, EBADMSG, "a lane request '%s' with a workspace id", ops[ret->op].name);
	if (takes & TAKES_IMAGE && !ident_is_image(ret->image, strlen(ret->image)))
		return err_set(err, ERR_BUG, EBADMSG, "a lane request '%s' with a bad image name", ops[ret->op].name);
	if (takes & TAKES_DISK && (ret->disk_mib < TASK_MIN_DISK_MIB || ret->disk_mib > TASK_MAX_DISK_MIB))
		return err_set(err, ERR_BUG, ERANGE, "a lane request '%s' for a disk of %u MiB", ops[ret->op].name,
			       ret->disk_mib);
	if (takes & TAKES_SHAPE && !is_good_shape(ret))
		return err_set(err, ERR_BUG, ERANGE, "a lane request '%s' for slot %u with %u processors and %u MiB",
			       ops[ret->op].name, ret->slot, ret->cpus, ret->memory_mib);
	return 0;
}

int lane_reply_check(const void *data, size_t len, size_t n_fds, struct lane_reply *ret, struct err *err)
{
	if (len != sizeof(*ret))
		return err_set(err, ERR_BUG, EBADMSG, "a lane reply of %zu bytes instead of %zu", len, sizeof(*ret));
	memcpy(ret, data, sizeof(*ret));
	if (ret->magic != LANE_MAGIC || ret->op == LANE_OP_NONE || ret->op >= LANE_OP_COUNT ||
	    ret->err_kind >= ERR_KIND_COUNT || ret->rc > 0)
		return err_set(err, ERR_BUG, EBADMSG, "a lane reply with magic %#x, op %u and status %d", ret->magic,
			       ret->op, ret->rc);
	if (!is_text(ret->msg, sizeof(ret->msg)) || !is_text(ret->id, sizeof(ret->id)) ||
	    (ret->id[0] && !ident_is_id(ret->id, strlen(ret->id))))
		return err_set(err, ERR_BUG, EBADMSG, "a lane reply '%s' with bad text", ops[ret->op].name);
	if (ret->n_fds != n_fds || n_fds != (ret->rc < 0 ? 0 : ops[ret->op].n_fds))
		return err_set(err, ERR_BUG, EBADMSG, "a lane reply '%s' with %zu descriptors", ops[ret->op].name, n_fds);
	return 0;
}
