#include "lane/launcher.h"

#include <string.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/uids.h"
#include "lane/workspaces.h"

#define TSC_SAMPLE_US 20000
#define PROBE_MEMORY_MIB 256
#define PROBE_DISK_MIB 64 /* of the placeholder, which it never opens */

static const struct launcher *const launchers[LAUNCHER_COUNT] = { [LAUNCHER_QEMU] = &launcher_qemu,
								   [LAUNCHER_QEMU_TEMPLATE] = &launcher_qemu_template,
								   [LAUNCHER_QEMU_CLONE] = &launcher_qemu_clone };

const struct launcher *launcher_of(enum launcher_kind kind)
{
	return (unsigned)kind < LAUNCHER_COUNT ? launchers[kind] : NULL;
}

uint32_t launcher_tsc_khz(void)
{
	uint64_t ns0 = clock_mono_ns(), tsc0 = __rdtsc(), ns1, tsc1;

	(void)usleep(TSC_SAMPLE_US);
	ns1 = clock_mono_ns();
	tsc1 = __rdtsc();
	return (uint32_t)((tsc1 - tsc0) * 1000000u / (ns1 - ns0));
}

void launch_plan_init(struct launch_plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	memset(plan->fds, 0xff, sizeof(plan->fds));
	plan->control_fd = plan->guest_fd = plan->memory_fd = plan->state_fd = -1;
}

void launch_plan_clear(struct launch_plan *plan)
{
	for (size_t i = 0; i < ARRAY_SIZE(plan->fds); i++)
		close_fd(&plan->fds[i]);
	close_fd(&plan->control_fd);
	close_fd(&plan->guest_fd);
	close_fd(&plan->memory_fd);
	close_fd(&plan->state_fd);
}

static int spawn(const struct host_place *place, const char *libexec_dir, const struct jail_profile *jail,
		 const struct launch *launch, const struct launch_plan *plan, int *ret_guard_fd,
		 struct err *err)
{
	const struct vm_plan vm = { .id = launch->vm_id,
				    .uid = launch->uid,
				    .memory_mib = launch->memory_mib,
				    .shared_mib = plan->shared_mib,
				    .cpus = launch->cpus,
				    .file_mib = plan->file_mib,
				    .deadline_boot_ms = launch->deadline_boot_ms,
				    .limit_boot_ms = launch->limit_boot_ms,
				    .jail = jail,
				    .needs_kvm = launch->accel == ACCEL_KVM,
				    .argv = plan->argv,
				    .fds = plan->fds,
				    .n_fds = plan->n_fds };

	return vm_spawn(place, libexec_dir, &vm, ret_guard_fd, err);
}

int launcher_start(const struct host_place *place, const char *libexec_dir, enum launcher_kind kind, const struct launch *launch,
		   struct launch_ends *ret, struct err *err)
{
	const struct launcher *launcher = launcher_of(kind);
	cleanup_(launch_plan_clear) struct launch_plan plan;
	cleanup_fd int guard_fd = -1; /* closed: it kills */
	int r;

	launch_plan_init(&plan);
	if (!launcher)
		return err_set(err, ERR_BUG, EINVAL, "a launcher %d, which is none", (int)kind);
	r = launcher->plan(place, launch, &plan, err);
	if (r == 0)
		r = spawn(place, libexec_dir, launcher->jail, launch, &plan, &guard_fd, err);
	if (r == 0 && launcher->connect)
		r = launcher->connect(&plan, err);
	if (r < 0)
		return r;
	ret->guard_fd = take_fd(&guard_fd);
	ret->control_fd = take_fd(&plan.control_fd);
	ret->guest_fd = take_fd(&plan.guest_fd);
	ret->memory_fd = take_fd(&plan.memory_fd);
	ret->state_fd = take_fd(&plan.state_fd);
	ret->build_id = plan.build_id;
	return 0;
}

int launcher_probe(const struct host_place *place, const char *libexec_dir, enum launcher_kind kind, enum accel accel,
		   uint64_t guard_deadline_boot_ms, char name[NAMES_PROBE_MAX], struct launch_ends *ret, struct err *err)
{
	char images[PATH_MAX], id[NAMES_PROBE_MAX];
	const struct launch launch = { .vm_id = id,
				       .uid = UID_PROBE,
				       .accel = accel,
				       .memory_mib = PROBE_MEMORY_MIB,
				       .cpus = 1,
				       .disk_mib = PROBE_DISK_MIB,
				       .tsc_khz = launcher_tsc_khz(),
				       .deadline_boot_ms = guard_deadline_boot_ms,
				       .limit_boot_ms = guard_deadline_boot_ms };

	workspaces_remove_old_probes(place);
	names_probe(guard_deadline_boot_ms, (int)getpid(), id);
	if (name)
		memcpy(name, id, sizeof(id));
	names_images_dir(place, images);
	if (access(images, R_OK | X_OK) < 0)
		return err_set(err, ERR_HOST, errno, "look into the images folder '%s'", images);
	return launcher_start(place, libexec_dir, kind, &launch, ret, err);
}
