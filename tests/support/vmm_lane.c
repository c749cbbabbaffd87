#include "tests/support/vmm_lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

static const char *state_dir(void)
{
	const char *dir = getenv("MAYFLY_STATE");

	return dir ? dir : SOURCE_DIR "/.mayfly";
}

void vmm_lane_start(struct vmm_lane *lane, uint32_t n_slots)
{
	struct err err;
	int pair[2];

	*lane = (struct vmm_lane){ .setup = { .slot_uid_base = VMM_LANE_UID_BASE, .n_slots = n_slots } };
	assert_int_equal(secret_new(LANE_DATAGRAM_MAX, &lane->buffer, &err), 0);
	(void)snprintf(lane->setup.place.host, sizeof(lane->setup.place.host), "lanetest-%d", (int)getpid());
	(void)snprintf(lane->setup.place.state_dir, sizeof(lane->setup.place.state_dir), "%s", state_dir());
	(void)snprintf(lane->setup.libexec_dir, sizeof(lane->setup.libexec_dir), "%s", LIBEXEC_DIR);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	lane->pid = fork();
	if (lane->pid == 0) {
		(void)close(pair[0]);
		_exit(lane_main(LANE_VMM, pair[1], &lane->setup));
	}
	assert_true(lane->pid > 0);
	(void)close(pair[1]);
	lane->fd = pair[0];
}

void vmm_lane_end(struct vmm_lane *lane)
{
	char group[PATH_MAX];

	close_fd(&lane->fd);
	lane_reply_clear(&lane->reply);
	secret_free(lane->buffer);
	(void)kill(lane->pid, SIGCONT); /* a test that failed may have left it stopped */
	assert_int_equal(waitpid(lane->pid, NULL, 0), lane->pid);
	for (const char *const *root = (const char *const[]){ "memory/", "pids/", "cpu/", "", NULL }; *root; root++) {
		(void)snprintf(group, sizeof(group), "/sys/fs/cgroup/%smayfly.%s", *root, lane->setup.place.host);
		(void)rmdir(group); /* the parent stays as long as its worker; not in every hierarchy */
	}
}

struct lane_request vmm_lane_request(const char *vm_id, uint64_t guard_deadline_boot_ms)
{
	struct lane_request request = { .op = LANE_OP_VM_START,
					.deadline_boot_ms = clock_boot_ms() + VMM_LANE_LONG_MS,
					.of.vm_start = { .image = "base",
							 .launcher = LAUNCHER_QEMU,
							 .cpus = 1,
							 .memory_mib = 128,
							 .disk_mib = 64,
							 .guard_deadline_boot_ms = guard_deadline_boot_ms } };

	(void)snprintf(request.of.vm_start.vm_id, sizeof(request.of.vm_start.vm_id), "%s", vm_id);
	return request;
}

void vmm_lane_ask(struct vmm_lane *lane, const struct lane_request *request)
{
	struct err err;

	assert_int_equal(lane_send_request(lane->fd, lane->buffer, request, ++lane->seq, &err), 0);
}

int vmm_lane_answer(struct vmm_lane *lane)
{
	struct pollfd pollfd = { .fd = lane->fd, .events = POLLIN };
	struct err err = { 0 };
	uint64_t seq;

	lane_reply_clear(&lane->reply);
	assert_int_equal(poll(&pollfd, 1, VMM_LANE_PATIENCE_MS), 1);
	if (lane_receive_reply(lane->fd, lane->buffer, &lane->reply, &lane->fault, &seq, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(seq, lane->seq);
	return lane->fault.errnum;
}
