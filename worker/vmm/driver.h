/* What the engine asks of a VMM, whichever it is. What a VMM says is never a fault of the host's (ERR_HOST): it may be a guest's. The lane half of a driver (lib/host/qemu.c) turns a request into a process
 * in its jail; this half talks to it over the control socket that came back. It parses what the VMM says and nothing else.
 *
 * To add a driver: a struct vmm_driver here, an entry in vmm_drivers[], and its lane half. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

struct vmm; /* one VMM's control channel */

struct vmm_events {
	/* The disk is readable by the guest (err NULL), or will never be. Once per attach_disk. */
	void (*on_disk)(void *ctx, const struct err *err);
	/* The guest starts its kernel again, which it may until its agent listens. */
	void (*on_restart)(void *ctx);
	/* The VMM says that the file under the disk cannot be read or written. It may lie: the lane looks itself. At most once. */
	void (*on_io_error)(void *ctx);
	/* The control channel broke. At most once; nothing follows it. */
	void (*on_broken)(void *ctx, const struct err *err);
};

struct vmm_driver {
	const char *name; /* as in the configuration and in results */
	const char *disk; /* isolation.disk of its tasks */
	bool is_real;     /* false: no process, no disk, no guest; for queue tests and benchmarks only */

	/* Takes ownership of control_fd. */
	int (*open)(struct event_base *base, int control_fd, const struct vmm_events *events, void *ctx,
		    struct vmm **ret, struct err *err);
	/* Hand over the encrypted disk: a descriptor of the backing file (borrowed) and the keyslot's secret. The key goes over
	 * the private control socket and the VMM is told to forget it once the disk is open. */
	int (*attach_disk)(struct vmm *vmm, int disk_fd, const struct secret *key, struct err *err);
	/* The agent has spoken: it listens from now on, and a guest that restarts ends its VM. NULL when the VMM needs no telling. */
	int (*agent_listens)(struct vmm *vmm, struct err *err);
	void (*close)(struct vmm *vmm); /* accepts NULL */
};

/* NULL when there is no driver of that name. */
const struct vmm_driver *vmm_driver_find(const char *name);

extern const struct vmm_driver vmm_qemu;
extern const struct vmm_driver vmm_null;
