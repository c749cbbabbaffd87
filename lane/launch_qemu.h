/* The launcher half of QEMU (lane/launcher.h): its command line and descriptors. */
#pragma once

#include "lane/launcher.h"

/* Descriptors of the VMM, in this order from 3 on. */
enum qemu_fd { QEMU_FD_CHANNEL, QEMU_FD_QMP, QEMU_FD_KERNEL, QEMU_FD_INITRD, QEMU_FD_ROOTFS, QEMU_FD_COUNT };

/* argv and text of the plan. plan->text[QEMU_TEXT_DISK] is the node of the disk that is not there yet. */
#define QEMU_TEXT_DISK 3
void qemu_command_fill(struct launch_plan *plan, const struct launch *launch);
