/* Requests to the root lanes from an engine that may have been taken over, and the lanes' replies. The first byte is the
 * number of descriptors that came with the datagram. What is taken is written again as the same bytes. */
#include "lane/protocol.h"

#include <string.h>

#include "tests/fuzz/target.h"
#include "wire/task.h"

static void check_start(const struct lane_vm_start *start, size_t n_fds)
{
	FUZZ_CHECK(ident_is_image(start->image, strnlen(start->image, sizeof(start->image))));
	FUZZ_CHECK(launcher_of(start->launcher));
	FUZZ_CHECK((start->launcher == LAUNCHER_QEMU_CLONE) == (start->build_id != 0));
	FUZZ_CHECK(n_fds == (start->launcher == LAUNCHER_QEMU_CLONE ? 2 : start->drive != DRIVE_NONE));
	FUZZ_CHECK(start->cpus >= 1 && start->cpus <= TASK_MAX_CPUS && start->slot < LANE_MAX_SLOTS);
	FUZZ_CHECK(start->memory_mib >= TASK_MIN_MEMORY_MIB && start->memory_mib <= TASK_MAX_MEMORY_MIB);
	FUZZ_CHECK(start->disk_mib >= TASK_MIN_DISK_MIB && start->disk_mib <= TASK_MAX_DISK_MIB);
}

static void check_request(const struct lane_request *request, size_t n_fds)
{
	const char *vm_id = lane_request_vm_id(request);

	FUZZ_CHECK(request->op > LANE_OP_NONE && request->op < LANE_OP_COUNT && request->deadline_boot_ms);
	FUZZ_CHECK(!*vm_id || ident_is_id(vm_id, strnlen(vm_id, IDENT_ID_MAX + 1)));
	FUZZ_CHECK(n_fds == 0 || request->op == LANE_OP_VM_START);
	FUZZ_CHECK(!request->secret || secret_len(request->secret) <= LANE_SECRET_MAX);
	if (request->op == LANE_OP_VM_START)
		check_start(&request->of.vm_start, n_fds);
	if (request->op == LANE_OP_DISK_FORMAT)
		FUZZ_CHECK(request->of.disk_format.form == DISK_FORM_LUKS1);
}

static void try_request(const uint8_t *data, size_t len, size_t n_fds)
{
	uint8_t again[LANE_DATAGRAM_MAX];
	struct err err = { .kind = ERR_NONE };
	struct lane_request request;
	uint64_t seq;

	if (lane_request_decode(data, len, n_fds, &request, &seq, &err) < 0) {
		FUZZ_CHECK(err.kind == ERR_BUG && err.msg[0]);
		return;
	}
	check_request(&request, n_fds);
	request.n_fds = n_fds; /* as who received them does; encoding looks at the number alone */
	FUZZ_CHECK(lane_request_encode(&request, seq, again) == len);
	request.n_fds = 0;
	lane_request_clear(&request);
}

static void try_reply(const uint8_t *data, size_t len, size_t n_fds)
{
	struct err err = { .kind = ERR_NONE }, fault;
	uint8_t again[LANE_DATAGRAM_MAX];
	struct lane_reply reply;
	uint64_t seq;

	if (lane_reply_decode(data, len, n_fds, &reply, &fault, &seq, &err) < 0) {
		FUZZ_CHECK(err.kind == ERR_BUG && err.msg[0]);
		return;
	}
	FUZZ_CHECK(n_fds <= LANE_MAX_FDS && strnlen(fault.msg, sizeof(fault.msg)) < sizeof(fault.msg));
	FUZZ_CHECK(!reply.secret || reply.op == LANE_OP_DISK_FORMAT);
	reply.n_fds = n_fds;
	FUZZ_CHECK(lane_reply_encode(&reply, fault.kind == ERR_NONE ? NULL : &fault, seq, again) == len);
	reply.n_fds = 0;
	lane_reply_clear(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	try_request(data + 1, len - 1, data[0]);
	try_reply(data + 1, len - 1, data[0]);
	return 0;
}
