/* QEMU's command line, for each way of starting it: the one place that knows it. Template and clone have the same devices, in the same
 * order, or no state could go from one to the other; both lists are made here from one. */
#pragma once

#include "lane/launcher.h"

enum qemu_start {
	QEMU_START_COLD,
	QEMU_START_TEMPLATE, /* cold, in memory and with a disk that descriptors name */
	QEMU_START_CLONE     /* waits for a template's state; reads its memory and writes its own */
};

/* Descriptors of the VMM, in this order from 3 on. A clone has no kernel; those of its template's are in their places. */
enum qemu_fd {
	QEMU_FD_CHANNEL,
	QEMU_FD_QMP,
	QEMU_FD_KERNEL,
	QEMU_FD_INITRD,
	QEMU_FD_ROOTFS,
	QEMU_FD_COUNT,
	QEMU_FD_TEMPLATE_MEMORY = QEMU_FD_COUNT, /* of a template alone, as the next */
	QEMU_FD_TEMPLATE_DISK,
	QEMU_FD_TEMPLATE_COUNT,
	QEMU_FD_CLONE_MEMORY = QEMU_FD_KERNEL,
	QEMU_FD_CLONE_STATE = QEMU_FD_INITRD /* worker/vmm/qemu_snapshot.c knows its number */
};

/* argv and text of the plan. plan->text[QEMU_TEXT_DISK] is the node of the disk: of a template its own, else one that is not there yet. */
#define QEMU_TEXT_DISK 3
void qemu_command_fill(struct launch_plan *plan, const struct launch *launch, enum qemu_start start);

/* A digest of what template and clone have in common, without what is measured anew by each lane. */
uint64_t qemu_command_digest(const struct launch *launch);
