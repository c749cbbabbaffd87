/* QEMU's command line: the one place that knows it. The microVM has two block devices, "root" (the image, read-only) and
 * "work" (a placeholder of the right size until the encrypted disk is attached over QMP), one virtio-serial port "agent",
 * and no network device. QEMU sees no path of the host: everything is a descriptor. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "host/accel.h"
#include "host/names.h"
#include "host/vm.h"

#define QEMU_MAX_ARGS 64

struct qemu_shape {
	enum accel accel;
	uint32_t memory_mib;
	uint32_t cpus;
	uint32_t disk_mib; /* rounded up to its size class here */
	uint32_t tsc_khz;  /* qemu_tsc_khz() */
};

struct qemu_command {
	const char *argv[QEMU_MAX_ARGS];
	char memory[16], cpus[16], append[256], placeholder[128];
};

/* Descriptors of the VMM, in this order from 3 on. */
enum qemu_fd { QEMU_FD_CHANNEL, QEMU_FD_QMP, QEMU_FD_KERNEL, QEMU_FD_INITRD, QEMU_FD_ROOTFS, QEMU_FD_COUNT };

void qemu_command_fill(struct qemu_command *command, const struct qemu_shape *shape);

/* The host's TSC frequency, measured over 20 ms: given to the guest, whose own calibration hangs on a busy host. */
uint32_t qemu_tsc_khz(void);

struct qemu_request {
	const char *id;
	const char *image;
	uint32_t uid;
	struct qemu_shape shape;
	uint64_t deadline_boot_ms;
};

/* What the engine gets: its ends of the sockets. */
struct qemu_ends {
	int qmp_fd, channel_fd, guard_fd;
};

/* A microVM that is only to say hello: no image, no disk, the uid UID_PROBE, an id that is no workspace's. ERR_HOST also when the images
 * folder cannot be looked into. */
int qemu_start_probe(const struct host_place *place, const char *libexec_dir, const char *id, enum accel accel,
		     uint64_t deadline_boot_ms, struct qemu_ends *ret, struct err *err);

/* Open kernel, initrd and image, and start QEMU in its jail. ERR_INPUT when the image is not on this host. */
int qemu_start(const struct host_place *place, const char *libexec_dir, const struct qemu_request *request,
	       struct qemu_ends *ret, struct err *err);
