/* QEMU that goes on where a template was saved: it reads the template's memory, which is sealed, and writes to pages of its own. It may
 * come from an engine that was taken over; then it is a guest like any other, in the same jail. What matters to the host is that nobody
 * can change it while others use it. */
#include "base/own.h"
#include "host/sealed.h"
#include "lane/qemu_parts.h"

#define MIB (1ull << 20)

static int check_sizes(const struct launch *launch, struct err *err)
{
	uint64_t memory_bytes, state_bytes;
	int r = sealed_memory_check(launch->from->memory_fd, &memory_bytes, err);

	if (r == 0)
		r = sealed_memory_check(launch->from->state_fd, &state_bytes, err);
	if (r < 0)
		return r;
	if (memory_bytes != launch->memory_mib * MIB || state_bytes == 0 || state_bytes > LAUNCH_STATE_MAX_MIB * MIB)
		return err_set(err, ERR_BUG, EINVAL, "a template of %llu bytes with a state of %llu, for a microVM of %u MiB",
			       (unsigned long long)memory_bytes, (unsigned long long)state_bytes, launch->memory_mib);
	return 0;
}

static int plan(const struct host_place *place, const struct launch *launch, struct launch_plan *ret, struct err *err)
{
	uint64_t holes;
	int r;

	if (!launch->from)
		return err_set(err, ERR_BUG, EINVAL, "a clone of no template");
	r = check_sizes(launch, err);
	if (r == 0)
		r = qemu_plan_common(place, launch, QEMU_START_CLONE, ret, err);
	if (r == 0 && ret->build_id != launch->from->build_id)
		r = err_set(err, ERR_BUSY, ESTALE, "the template is older than the kernel, image, blank disk or QEMU of this host, or was made for another microVM");
	if (r == 0)
		r = sealed_memory_reopen(launch->from->memory_fd, &ret->fds[QEMU_FD_CLONE_MEMORY], err);
	if (r == 0)
		r = sealed_memory_reopen(launch->from->state_fd, &ret->fds[QEMU_FD_CLONE_STATE], err);
	if (r == 0)
		r = sealed_memory_holes(launch->from->memory_fd, &holes, err);
	if (r == 0)
		ret->shared_mib = (uint32_t)((holes + MIB - 1) / MIB);
	return r;
}

const struct launcher launcher_qemu_clone = {
	.name = "qemu-clone",
	.jail = &jail_profile_qemu,
	.control = LAUNCHER_CONTROL_QMP,
	.guest = LAUNCHER_GUEST_SERIAL,
	.plan = plan,
};
