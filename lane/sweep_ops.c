/* The list of what is left on this host. */
#include <string.h>

#include "lane/ops.h"
#include "lane/workspaces.h"

struct at {
	uint64_t cursor; /* how many to pass over */
	struct lane_swept *swept;
};

static int visit(void *ctx, const char *vm_id)
{
	struct at *at = ctx;

	if (at->cursor > 0) {
		at->cursor--;
		return 0;
	}
	memcpy(at->swept->vm_id, vm_id, strlen(vm_id) + 1); /* an ident */
	return 1;
}

/* One name per request. Names that come or go between two requests shift the list: what is missed now is found by the next
 * sweep, what is named twice is harmless. */
int lane_op_sweep(struct lane_context *context, struct lane_request *request, struct lane_reply *reply, struct err *err)
{
	struct at at = { .cursor = request->of.sweep.cursor, .swept = &reply->of.sweep };
	int r;

	if (!request->of.sweep.cursor)
		workspaces_remove_old_probes(&context->setup->place);
	r = workspaces_each(&context->setup->place, visit, &at, err);

	reply->of.sweep.cursor = request->of.sweep.cursor + 1;
	return r < 0 ? r : 0;
}
