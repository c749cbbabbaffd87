/* The microVM has two block devices, "root" (the image, read-only) and "work" (a placeholder of the right size until the encrypted disk is
 * attached over QMP; a template's is a blank disk, which its guest mounts), one virtio-serial port "agent", and no network device. QEMU
 * sees no path of the host: everything is a descriptor. */
#include "lane/qemu_command.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/own.h"
#include "host/disk/disk.h"

#define TEXT_BYTES	sizeof(((struct launch_plan *)0)->text[0])
#define TSC_CLASS_KHZ 50000 /* a hundred times as coarse as what is measured is exact */

/* Which of plan->text. */
enum text { TEXT_MEMORY, TEXT_CPUS, TEXT_APPEND, TEXT_DISK, TEXT_BACKEND };

static void add(struct launch_plan *plan, size_t *n, const char *const *list, size_t len)
{
	assert(*n + len < LAUNCHER_MAX_ARGS);
	memcpy(plan->argv + *n, list, len * sizeof(*list));
	*n += len;
	plan->argv[*n] = NULL;
}

#define ADD(plan, n, ...)                                              \
	do {                                                           \
		const char *const list_[] = { __VA_ARGS__ };           \
		add(plan, n, list_, ARRAY_SIZE(list_));                \
	} while (0)

static void fill_disk(char text[TEXT_BYTES], uint64_t bytes, enum qemu_start start)
{
	if (start == QEMU_START_TEMPLATE)
		(void)snprintf(text, TEXT_BYTES, "driver=raw,node-name=work,size=%llu,file.driver=file,file.locking=off,file.filename=/proc/self/fd/%d",
			       (unsigned long long)bytes, 3 + QEMU_FD_TEMPLATE_DISK);
	else
		(void)snprintf(text, TEXT_BYTES, "driver=raw,node-name=work,file.driver=null-co,file.size=%llu,file.read-zeroes=on",
			       (unsigned long long)bytes);
}

static void fill_text(struct launch_plan *plan, const struct launch *launch, enum qemu_start start)
{
	bool is_clone = start == QEMU_START_CLONE;
	int memory_fd = 3 + (is_clone ? QEMU_FD_CLONE_MEMORY : QEMU_FD_TEMPLATE_MEMORY);

	(void)snprintf(plan->text[TEXT_MEMORY], TEXT_BYTES, "%u", launch->memory_mib);
	(void)snprintf(plan->text[TEXT_CPUS], TEXT_BYTES, "%u", launch->cpus);
	(void)snprintf(plan->text[TEXT_APPEND], TEXT_BYTES,
		       "quiet panic=-1 reboot=t tsc_early_khz=%u tsc=reliable cryptomgr.notests=1 noreplace-smp", launch->tsc_khz);
	static_assert((int)TEXT_DISK == QEMU_TEXT_DISK, "the header says which");
	static_assert(3 + (int)QEMU_FD_CLONE_STATE == 6, "worker/vmm/qemu_snapshot.c names it");
	fill_disk(plan->text[TEXT_DISK], (uint64_t)disk_size_class_mib(launch->disk_mib) << 20, start);
	(void)snprintf(plan->text[TEXT_BACKEND], TEXT_BYTES, "memory-backend-file,id=memory,size=%uM,mem-path=/proc/self/fd/%d,share=%s",
		       launch->memory_mib, memory_fd, is_clone ? "off" : "on");
}

/* Until its agent listens a guest may start its kernel again, where the VMM lets it (docs/decisions/2026-11-24-a-guest-looks-at-its-timer.md). */
static void add_machine(struct launch_plan *plan, size_t *n, const struct launch *launch, enum qemu_start start)
{
	bool is_kvm = launch->accel == ACCEL_KVM;

	ADD(plan, n, "/usr/bin/qemu-system-x86_64", "-M",
	    start == QEMU_START_COLD ? "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=off" :
				       "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=off,memory-backend=memory",
	    "-nodefaults", "-no-user-config", "-display", "none", "-action",
	    is_kvm || start == QEMU_START_CLONE ? "reboot=shutdown" : "reboot=reset", "-object",
	    "main-loop,id=main-loop,thread-pool-max=16", /* the jail's profile has room for these */
	    "-accel", is_kvm ? "kvm" : "tcg,tb-size=64", "-cpu", is_kvm ? "host" : "max", "-m", plan->text[TEXT_MEMORY], "-smp",
	    plan->text[TEXT_CPUS]);
}

static void add_devices(struct launch_plan *plan, size_t *n)
{
	ADD(plan, n, "-chardev", "socket,id=channel,fd=3", "-device", "virtio-serial-device,max_ports=2", "-device",
	    "virtserialport,chardev=channel,name=agent", "-chardev", "socket,id=control,fd=4", "-mon", "chardev=control,mode=control",
	    "-add-fd", "fd=7,set=9", "-blockdev",
	    "node-name=image,driver=file,filename=/dev/fdset/9,read-only=on,auto-read-only=off,locking=off", "-device",
	    "virtio-blk-device,drive=image,serial=root", "-blockdev", plan->text[TEXT_DISK], "-device",
	    "virtio-blk-device,drive=work,serial=work");
}

void qemu_command_fill(struct launch_plan *plan, const struct launch *launch, enum qemu_start start)
{
	size_t n = 0;

	fill_text(plan, launch, start);
	add_machine(plan, &n, launch, start);
	if (start != QEMU_START_COLD)
		ADD(plan, &n, "-object", plan->text[TEXT_BACKEND]);
	if (start == QEMU_START_CLONE)
		ADD(plan, &n, "-incoming", "defer");
	else
		ADD(plan, &n, "-kernel", "/proc/self/fd/5", "-initrd", "/proc/self/fd/6", "-append", plan->text[TEXT_APPEND]);
	add_devices(plan, &n);
	ADD(plan, &n, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

uint64_t qemu_command_digest(const struct launch *launch)
{
	uint64_t digest = DIGEST_START;
	struct launch coarse = *launch;
	struct launch_plan plan;

	launch_plan_init(&plan);
	coarse.tsc_khz = launch->tsc_khz / TSC_CLASS_KHZ * TSC_CLASS_KHZ;
	qemu_command_fill(&plan, &coarse, QEMU_START_TEMPLATE);
	for (const char *const *arg = plan.argv; *arg; arg++)
		digest = digest_add(digest, *arg, strlen(*arg) + 1);
	return digest;
}
