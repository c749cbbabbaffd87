/* The control half of a VMM: what the engine says to one that runs, and what it says back, over the control socket that came with
 * it. The launcher half (lane/) turns a request into a process in its jail. This half parses what the VMM says and nothing else.
 *
 * What a VMM says is never a fault of the host's (ERR_HOST): it may be a guest's. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "host/disk/drive.h"

struct vmm; /* one VMM's control session */

struct vmm_events {
	/* The drive is there for the guest (err NULL), or will never be. Once per attach_drive. */
	void (*on_disk)(void *ctx, const struct err *err);
	/* The state is whole in its descriptor (err NULL), or will never be. Once per save. */
	void (*on_saved)(void *ctx, const struct err *err);
	/* The clone runs (err NULL), or will never. Once per restore. */
	void (*on_restored)(void *ctx, const struct err *err);
	/* The guest starts its kernel again, which it may until its agent listens. */
	void (*on_restart)(void *ctx);
	/* The VMM says that the file under the disk cannot be read or written. It may lie: the lane looks itself. At most once. */
	void (*on_io_error)(void *ctx);
	/* The session broke. At most once; nothing follows it. */
	void (*on_broken)(void *ctx, const struct err *err);
};

/* No callback may close the session. */
struct vmm_control {
	/* Takes ownership of control_fd. */
	int (*open)(struct event_base *base, int control_fd, const struct vmm_events *events, void *ctx, struct vmm **ret,
		    struct err *err);
	/* Save a template: its devices' state goes to `state_fd`, which is borrowed during the call. Its memory is the file that it runs in,
	 * so nothing may run in this VM afterwards: end it, then seal both (host/sealed.h). Once. */
	int (*save)(struct vmm *vmm, int state_fd, struct err *err);
	/* A clone, right after open(): it goes on where its template was saved, by itself. */
	int (*restore)(struct vmm *vmm, struct err *err);
	/* Hand over the disk; its descriptor and key are borrowed during the call. The key goes over the private control socket, and
	 * the VMM is told to forget it once the disk is open. */
	int (*attach_drive)(struct vmm *vmm, const struct drive *drive, struct err *err);
	/* The agent has spoken: it listens from now on, and a guest that restarts ends its VM. */
	int (*agent_listens)(struct vmm *vmm, struct err *err);
	void (*close)(struct vmm *vmm); /* accepts NULL */
};

extern const struct vmm_control vmm_control_qemu;
