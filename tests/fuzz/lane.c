/* Requests to the root lanes from an engine that may have been taken over, and the lanes' replies. The first byte is the
 * number of descriptors that came with a reply. */
#include "wire/lane.h"

#include <string.h>

#include "tests/fuzz/target.h"
#include "wire/task.h"

static void check_request(const struct lane_request *request)
{
	FUZZ_CHECK(request->magic == LANE_MAGIC && request->op != LANE_OP_NONE && request->op < LANE_OP_COUNT);
	FUZZ_CHECK(strnlen(request->id, sizeof(request->id)) < sizeof(request->id));
	FUZZ_CHECK(strnlen(request->image, sizeof(request->image)) < sizeof(request->image));
	if (request->op != LANE_OP_SWEEP && request->op != LANE_OP_DISK_LOOK && request->op != LANE_OP_VM_PROBE)
		FUZZ_CHECK(ident_is_id(request->id, strlen(request->id)));
	if (request->op == LANE_OP_VM_START) {
		FUZZ_CHECK(ident_is_image(request->image, strlen(request->image)));
		FUZZ_CHECK(request->cpus >= 1 && request->cpus <= TASK_MAX_CPUS);
		FUZZ_CHECK(request->memory_mib >= TASK_MIN_MEMORY_MIB && request->memory_mib <= TASK_MAX_MEMORY_MIB);
	}
	if (request->op == LANE_OP_DISK_FORMAT || request->op == LANE_OP_VM_START)
		FUZZ_CHECK(request->disk_mib >= TASK_MIN_DISK_MIB && request->disk_mib <= TASK_MAX_DISK_MIB);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lane_request request;
	struct lane_reply reply;
	struct err err = { .kind = ERR_NONE };

	if (len < 1)
		return 0;
	if (lane_request_check(data + 1, len - 1, &request, &err) == 0)
		check_request(&request);
	else
		FUZZ_CHECK(err.kind == ERR_BUG && err.msg[0]);
	err.kind = ERR_NONE;
	if (lane_reply_check(data + 1, len - 1, data[0], &reply, &err) == 0)
		FUZZ_CHECK(reply.n_fds == data[0] && reply.n_fds <= LANE_MAX_FDS &&
			   strnlen(reply.msg, sizeof(reply.msg)) < sizeof(reply.msg));
	else
		FUZZ_CHECK(err.kind == ERR_BUG && err.msg[0]);
	return 0;
}
